# $1 a folder that could not be written, $2 a file that was being written there: the device's words for why.
rm -f "$2"
df -k "$1" 2>/dev/null | tail -n 1
words=$( (echo x > "$1/.harness-probe") 2>&1 ) || echo "refused $words"
rm -f "$1/.harness-probe"
exit 0

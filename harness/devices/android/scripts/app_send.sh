# $1 an app, $2 a file's name, $3 a file of the shell's: put it into the app's folder, and remove it here.
cat "$3" | run-as "$1" sh -c 'mkdir -p files && cat > "files/$1.partial" && mv "files/$1.partial" "files/$1"' sh "$2"
status=$?
rm -f "$3"
exit $status

# $1 a file that was pushed, $2 the SHA-256 it must have, $3 its final name
found=$(sha256sum "$1" 2>&1)
if [ "${found%% *}" != "$2" ]; then
  rm -f "$1"
  echo "${found%% *}"
  exit 3
fi
chmod 755 "$1" && mv -f "$1" "$3"

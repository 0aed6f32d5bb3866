# $1 an app, $2 a file's name in its folder: its contents.
exec run-as "$1" cat "files/$2"

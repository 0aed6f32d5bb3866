# Sourced by the set-up scripts, which define note and fail: Debian's packages where root may install them.

can_apt() { [ "$(id -u)" = 0 ] && [ -f /etc/debian_version ] && command -v apt-get >/dev/null; }
apt_updated=no
apt_install() {
  can_apt || fail "$1 is missing" "install it: apt-get install $1"
  if [ "$apt_updated" = no ]; then note "reading Debian's package lists"; apt-get -qq update; apt_updated=yes; fi
  note "installing $1 with apt"
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "$1" >/dev/null
}

# apt_offers PACKAGE: whether Debian's lists have it. They are read at most once a day and checkout, so that a machine
# whose Debian lacks the package waits for no network each time.
apt_offers() {
  apt-cache show "$1" >/dev/null 2>&1 && return
  local stamp=.venv/.harness-apt
  if [ "$apt_updated" = no ] && [ -z "$(find "$stamp" -mmin -1440 2>/dev/null)" ]; then
    note "reading Debian's package lists"
    apt-get -qq update || return 1
    apt_updated=yes
    touch "$stamp"
  fi
  apt-cache show "$1" >/dev/null 2>&1
}

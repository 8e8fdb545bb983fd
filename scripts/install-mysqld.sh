#!/usr/bin/env bash
# Installs a MySQL server for Vitess' mysqlctl below DIR, and leaves the system untouched.
#
#   scripts/install-mysqld.sh DIR
#
# DIR/root then is what Vitess calls VT_MYSQL_ROOT: sbin/mysqld, bin/mysql and their share files.
# A mysqld 8.0 or newer on this machine is used as it is. On Debian and its kin without one (bookworm has only
# MariaDB, which Vitess no longer supports) the packages of Debian sid are unpacked into DIR together with the
# libc they were built for; each program runs through that libc's own loader, so nothing is mixed into the system.
# DIR can be moved or copied afterwards.
set -euo pipefail

dir=${1:?usage: install-mysqld.sh DIR}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
root=$dir/root

say() { printf '==> %s\n' "$*"; }
usable() { # usable PROGRAM: is it a MySQL server 8.0 or newer?
  local version
  version=$("$1" --version 2>/dev/null) || return 1
  case $version in *MariaDB*) return 1 ;; esac
  [[ $version =~ Ver\ ([0-9]+)\. ]] && ((BASH_REMATCH[1] >= 8))
}

if usable "$root/sbin/mysqld"; then
  exit 0
fi
rm -rf "$root"

for candidate in ${VT_MYSQL_ROOT:+"$VT_MYSQL_ROOT/sbin/mysqld" "$VT_MYSQL_ROOT/bin/mysqld"} "$(PATH=$PATH:/usr/sbin command -v mysqld || true)"; do
  if usable "$candidate"; then
    # Homebrew links bin/mysqld to its Cellar, whose folder is the real installation.
    real=$(readlink -f "$candidate")
    say "using the installed $real ($("$real" --version))"
    ln -sfn "$(dirname "$(dirname "$real")")" "$root"
    # mysqlctl looks in sbin and bin; Homebrew has bin only, distributions sbin.
    if [[ ! -x $root/sbin/mysqld ]]; then
      prefix=$(readlink -f "$root")
      rm "$root"
      mkdir -p "$root/sbin"
      ln -s "$real" "$root/sbin/mysqld"
      ln -s "$prefix/bin" "$root/bin"
      ln -s "$prefix/share" "$root/share"
    fi
    exit 0
  fi
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
  cat >&2 <<'EOF'
install-mysqld.sh: no MySQL server 8.0 or newer found, and this is not a Debian system.
Install one and run make again:
  macOS    brew install mysql
  Fedora   dnf install community-mysql-server
  other    https://dev.mysql.com/downloads/, then export VT_MYSQL_ROOT=<folder that holds sbin/mysqld or bin/mysqld>
EOF
  exit 1
fi

say "unpacking MySQL from Debian sid into $dir (about 60 MB to download)"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
if [[ ! -r $keyring ]]; then
  echo "install-mysqld.sh: $keyring is missing: apt-get install debian-archive-keyring, or install a MySQL server" >&2
  exit 1
fi
apt=$dir/apt
rm -rf "$apt" "$dir/packages" "$dir/unpacked"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/state" "$apt/empty" "$dir/packages"
# The machine's own settings (a proxy, say) count, but for its hooks: they tidy up folders of the system.
mkdir "$apt/conf.d"
for part in /etc/apt/apt.conf.d/*; do
  if [[ -r $part ]] && ! grep -q Invoke "$part"; then cp "$part" "$apt/conf.d/"; fi
done
echo "Dir::Etc::Parts \"$apt/conf.d\";" >"$apt/apt.conf"
export APT_CONFIG=$apt/apt.conf
arch=$(dpkg --print-architecture)
: >"$apt/status"
echo "deb [arch=$arch signed-by=$keyring] ${DEBIAN_MIRROR:-http://deb.debian.org/debian} sid main" >"$apt/sources.list"
options=(
  -o "Dir::Etc::SourceList=$apt/sources.list" -o "Dir::Etc::SourceParts=$apt/empty" -o "Dir::Etc::Preferences=/dev/null"
  -o "Dir::Etc::PreferencesParts=$apt/empty" -o "Dir::State=$apt/state" -o "Dir::State::Lists=$apt/lists"
  -o "Dir::State::Status=$apt/status" -o "Dir::Cache=$apt/cache" -o "APT::Architecture=$arch" -o "APT::Architectures=$arch"
  -o "APT::Sandbox::User=" -o "Acquire::Languages=none" -o "Acquire::Retries=3" -o "Debug::NoLocking=1"
)
apt-get "${options[@]}" -qq update
# Every dependency by name, so that the loader finds each library in the folder; perl serves only scripts that are not used.
packages=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances mysql-server-core mysql-client-core |
  grep -E '^[a-z0-9]' | grep -Ev '^(perl|libperl)' | sort -u)
available=()
for package in $packages; do # virtual packages have nothing to download
  if apt-cache "${options[@]}" show "$package" >/dev/null 2>&1; then available+=("$package"); fi
done
say "downloading ${#available[@]} packages"
(cd "$dir/packages" && apt-get "${options[@]}" -qq download "${available[@]}")
for deb in "$dir"/packages/*.deb; do dpkg-deb -x "$deb" "$dir/unpacked"; done

tree=$dir/unpacked/usr
# Relative to the tree: each wrapper finds the tree from its own place.
loader=$(cd "$tree" && find lib -name 'ld-linux*.so.*' | sort | head -n 1)
libraries=$(dirname "$(cd "$tree" && find lib -name 'libc.so.6' | head -n 1)")
mkdir -p "$tree/libexec/mysql"
for program in sbin/mysqld bin/mysql bin/mysqladmin bin/mysqldump bin/my_print_defaults; do
  [[ -e $tree/$program ]] || continue
  real=libexec/mysql/${program#*/}
  mv "$(readlink -f "$tree/$program")" "$tree/$real"
  rm -f "$tree/$program"
  cat >"$tree/$program" <<EOF
#!/bin/sh
tree=\$(dirname "\$(dirname "\$(readlink -f "\$0")")")
exec "\$tree/$loader" --library-path "\$tree/$libraries:\$tree/lib/mysql/private" "\$tree/$real" "\$@"
EOF
  chmod 755 "$tree/$program"
done
ln -sfn unpacked/usr "$root"
rm -rf "$apt" "$dir/packages"
usable "$root/sbin/mysqld" || { echo "install-mysqld.sh: $root/sbin/mysqld does not run; remove $dir and try again" >&2; exit 1; }
say "installed $("$root/sbin/mysqld" --version)"

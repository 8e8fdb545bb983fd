#!/usr/bin/env bash
# Installs Chromium from Debian's packages, for the test that looks at the web UI. Says nothing when a browser is there.
set -euo pipefail

for browser in chromium chromium-browser google-chrome google-chrome-stable; do # those that chromedp looks for
  if command -v "$browser" >/dev/null; then exit 0; fi
done
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
  echo "install-chromium.sh: no Chromium found: install it (as root: apt-get install chromium) and run make again" >&2
  exit 1
fi
echo "==> installing Chromium from Debian's packages (about 100 MB to download)"
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium fonts-inter >/dev/null

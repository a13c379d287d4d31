#!/usr/bin/env bash
# Install Debian's Chromium for the browser tests where it is missing and we may. Never fails: without a browser
# those tests skip, and say so.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if ! command -v apt-get >/dev/null 2>&1; then
  echo "No Chromium and no apt-get: the browser tests will be skipped."
  exit 0
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! sudo -n true 2>/dev/null; then
    echo "No Chromium and no root rights to install it: the browser tests will be skipped."
    exit 0
  fi
  as_root=(sudo -n)
fi
export DEBIAN_FRONTEND=noninteractive
if ! { "${as_root[@]}" apt-get -qq update && "${as_root[@]}" apt-get -qq install -y --no-install-recommends chromium >/dev/null; }; then
  echo "Chromium could not be installed: the browser tests will be skipped."
fi

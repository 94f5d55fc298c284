#!/bin/sh
# Checks a recording with stock tools: openssl 3, sha256sum, and age when an identity is given.
#
#   sh verify.sh CAPTURE.pem EXPORT.pem [AGE-IDENTITY]
#
# Run it in the folder of the recording. Get the public keys, and better this script too, from
# somebody you trust, not from the folder: whoever changed the recording could have changed them.
# Artifacts that are sealed to another key than AGE-IDENTITY are named and passed over.
set -eu
[ $# -ge 2 ] || { echo "usage: sh verify.sh CAPTURE.pem EXPORT.pem [AGE-IDENTITY]" >&2; exit 2; }
fail() { echo "WRONG: $1" >&2; exit 1; }

signed() {
  openssl pkeyutl -verify -rawin -pubin -inkey "$2" -in "$1" -sigfile "$1.sig" >/dev/null 2>&1 ||
    fail "$1: the signature is not by $2"
  echo "ok: $1 is signed by $2"
}
signed capture.json "$1"
signed manifest.json "$2"

sums=$(sha256sum <SHA256SUMS | cut -d ' ' -f 1)
grep -q "^  \"sums_sha256\": \"$sums\",\$" manifest.json || fail "SHA256SUMS is not the manifest's"
sha256sum --strict --quiet -c SHA256SUMS >&2 || fail "a file is missing or was changed"
echo "ok: all files of SHA256SUMS are whole"

if [ $# -ge 3 ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cut -c 67- SHA256SUMS | while IFS= read -r file; do
    case $file in *.age) ;; *) continue ;; esac
    # One pass, nothing kept: age tells by its exit code, sha256sum says what came out.
    plain=$( (age -d -i "$3" "$file" 2>"$work/told" || echo bad >"$work/bad") | sha256sum | cut -d ' ' -f 1)
    if [ -e "$work/bad" ]; then
      rm "$work/bad"
      grep -q 'no identity matched' "$work/told" || fail "$file does not open"
      echo "passed over: $file is sealed to another key"
    elif grep -q "^      \"plain_sha256\": \"$plain\",\$" manifest.json; then
      echo "ok: $file opens to what was sealed"
    else
      fail "$file opens to something else than the manifest says"
    fi
  done
fi
echo "the recording is whole"

#!/bin/sh
# Puts the Claude Code that the tests drive under target/tools/: one pinned version of the native package, which needs no Node to run.
# It is never committed, never logged in, and only ever talks to a scripted endpoint on loopback.
set -eu
version=2.1.330
top=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
tools=${1:-$top/target/tools}
case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) platform=linux-x64 ;;
    Linux-aarch64) platform=linux-arm64 ;;
    Darwin-x86_64) platform=darwin-x64 ;;
    Darwin-arm64) platform=darwin-arm64 ;;
    *) echo "no Claude Code is published for $(uname -s) on $(uname -m)" >&2; exit 1 ;;
esac
package=@anthropic-ai/claude-code-$platform
installed=$tools/node_modules/$package/package.json
if ! grep -q "\"version\": \"$version\"" "$installed" 2>/dev/null; then
    mkdir -p "$tools"
    npm install --prefix "$tools" --no-save --no-audit --no-fund --loglevel=error "$package@$version" >&2
fi
ln -sfn "node_modules/$package/claude" "$tools/claude"
echo "$tools/claude"

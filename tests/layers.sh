#!/usr/bin/env bash
# Holds the layers: common knows no message and no service, proto no service, a service none of its
# neighbours; third-party libraries only where they belong; one file calls the ciphers.
set -u
cd "${1:-.}" || exit 2
bad=0
refuse() { # TEXT PATTERN PATH...
    local text=$1 pattern=$2
    shift 2
    local hits
    hits=$(grep -rnE "$pattern" --include='*.[ch]' "$@" 2>/dev/null) || return 0
    printf '%s:\n%s\n' "$text" "$hits"
    bad=1
}
refuse 'an include climbs out of its directory' '#include *"[^"]*\.\./' common proto services cli
refuse 'common includes more than common' '#include *"(proto|services|gateway|vault|proxy|audit)' common
refuse 'proto includes a service' '#include *"(services|gateway|vault|proxy|audit)[./]' proto
others() { for s in gateway vault proxy audit; do [ "$s" = "$1" ] || printf '%s ' "$s"; done; }
for service in gateway vault proxy audit; do
    neighbours=$(others "$service" | sed 's/ $//; s/ /|/g')
    refuse "$service includes a neighbour" "#include *\"(services/)?($neighbours)[./]" "services/$service"
done
refuse 'SQLite outside the vault' '#include *<sqlite3' common proto services/gateway services/proxy services/audit cli
refuse 'libpq outside the vault' '#include *<(libpq|postgres)' common proto services/gateway services/proxy services/audit cli
refuse 'libcurl outside the proxy and the command' '#include *<curl' common proto services/gateway services/vault services/audit
refuse 'libmicrohttpd outside the gateway and the health listener' '#include *<microhttpd' proto services/vault services/proxy services/audit cli
cipher_callers=$(grep -rlE '#include *<openssl/(evp|hmac|kdf|aes)' --include='*.[ch]' common proto services cli | grep -v '^common/crypto')
[ -z "$cipher_callers" ] || { printf 'a cipher is called outside common/crypto.c:\n%s\n' "$cipher_callers"; bad=1; }
refuse 'a banned function' '\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol)\(' common proto services cli
exit $bad

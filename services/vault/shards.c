/* shards.c - which of several audit daemons has a tenant's records.
 *
 * Rendezvous hashing over the daemons' numbers: each gives the tenant a score, the highest wins.  So a daemon
 * more takes over its share of the tenants and moves no other; and since the list only grows, a tenant's older
 * records can lie only with one that won while the list was shorter.
 *
 * The scores are a contract (docs/audit.md): a tenant that is sent elsewhere by the next release would have its
 * repeats, and the outcomes of its calls, refused.
 */
#include "vault.h"

/* The output function of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators). */
static uint64_t mix(uint64_t word)
{
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
    word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
    return word ^ (word >> 31);
}

/* FNV-1a, 64 bits. */
static uint64_t hash_of(struct view tenant)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < tenant.size; i++) {
        hash = (hash ^ tenant.data[i]) * 0x100000001B3u;
    }
    return hash;
}

/* SplitMix64's value number NUMBER from the seed HASH. */
static uint64_t score(uint64_t hash, unsigned number)
{
    return mix(hash + (number + 1ull) * 0x9E3779B97F4A7C15u);
}

unsigned shards_with(struct view tenant, unsigned count)
{
    uint64_t hash = hash_of(tenant), best = score(hash, 0);
    unsigned set = 1;
    for (unsigned i = 1; i < count && tenant.size > 0; i++) {
        uint64_t own = score(hash, i);
        if (own > best) {
            best = own;
            set |= 1u << i;
        }
    }
    return set;
}

unsigned shard_of(struct view tenant, unsigned count)
{
    unsigned set = count > 1 ? shards_with(tenant, count) : 1, last = 0;
    while (set >>= 1) {
        last++; /* the highest that won is the one that wins now */
    }
    return last;
}

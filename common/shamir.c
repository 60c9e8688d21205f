/* shamir.c - polynomials over GF(2^8): evaluated to split a secret, interpolated at 0 to join it. */
#include "common/shamir.h"

#include <string.h>

#include "common/crypto.h"

/* The product, in the same eight steps for all operands. */
static uint8_t multiply(uint8_t a, uint8_t b)
{
    uint8_t product = 0;
    for (int bit = 0; bit < 8; bit++) {
        unsigned low = b & 1u;
        product ^= (uint8_t)(a & (0u - low));
        unsigned carry = a >> 7;
        a = (uint8_t)((unsigned)a << 1 ^ (0x1bu & (0u - carry)));
        b >>= 1;
    }
    return product;
}

/* a^254, which is 1 / a, and 0 for 0. */
static uint8_t inverse(uint8_t a)
{
    uint8_t result = 1, power = a;
    for (int bit = 1; bit < 8; bit++) {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    return result;
}

/* The polynomial whose constant is SECRET's byte and whose other coefficients are random, at each X. */
static void split_byte(uint8_t byte, unsigned threshold, unsigned count, size_t stride,
                       uint8_t *ret_shares)
{
    uint8_t coefficients[SHAMIR_SHARES_MAX];
    crypto_random(coefficients, threshold - 1);
    for (unsigned x = 1; x <= count; x++) {
        uint8_t y = 0;
        for (unsigned i = 0; i < threshold - 1; i++) {
            y = multiply((uint8_t)(y ^ coefficients[i]), (uint8_t)x);
        }
        ret_shares[(x - 1) * stride] = y ^ byte;
    }
    explicit_bzero(coefficients, sizeof coefficients);
}

enum status shamir_split(struct view secret, unsigned threshold, unsigned count,
                         uint8_t *ret_shares)
{
    if (threshold < 2 || threshold > count || count > SHAMIR_SHARES_MAX || secret.size == 0 ||
        secret.size > SHAMIR_SECRET_MAX) {
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < secret.size; i++) {
        split_byte(secret.data[i], threshold, count, secret.size, ret_shares + i);
    }
    return STATUS_OK;
}

/* How much the share at XS[INDEX] counts at 0: the product of x / (x - xi) over the others. */
static uint8_t weight(const uint8_t *xs, unsigned count, unsigned index)
{
    uint8_t product = 1;
    for (unsigned i = 0; i < count; i++) {
        if (i != index) {
            product = multiply(product, multiply(xs[i], inverse(xs[i] ^ xs[index])));
        }
    }
    return product;
}

enum status shamir_combine(const uint8_t *xs, const uint8_t *shares, unsigned count, size_t size,
                           uint8_t *ret_secret)
{
    for (unsigned i = 0; i < count; i++) {
        if (xs[i] == 0 || memchr(xs, xs[i], i)) {
            return STATUS_INVALID;
        }
    }
    memset(ret_secret, 0, size);
    for (unsigned i = 0; i < count; i++) {
        uint8_t factor = weight(xs, count, i);
        for (size_t byte = 0; byte < size; byte++) {
            ret_secret[byte] ^= multiply(shares[i * size + byte], factor);
        }
    }
    return STATUS_OK;
}

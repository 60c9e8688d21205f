/* Which addresses a provider may have: the IANA special-purpose registries, and what hides in them. */
#include "unit.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include "services/proxy/upstream.h"

static bool is_public(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        return upstream_is_public((const struct sockaddr *)&v4);
    }
    if (inet_pton(AF_INET6, text, &v6.sin6_addr) != 1) {
        fail_msg("%s", text);
    }
    return upstream_is_public((const struct sockaddr *)&v6);
}

static void refused(void **state)
{
    static const char *const addresses[] = {
        "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255",
        "127.0.0.0", "127.0.0.1", "127.255.255.255", "169.254.0.0", "169.254.169.254", "169.254.170.2",
        "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.192", "192.168.0.0", "192.168.255.255",
        "198.18.0.0", "198.19.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1",
        "224.0.0.1", "239.255.255.255", "240.0.0.0", "255.255.255.255",
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1",
        "2001::1", "2001:0:7f00:1::", "2001:db8::1", "2001:10::1", "2001:20::1", "2002:7f00:1::",
        "2002:a00:1::1", "2002:a9fe:a9fe::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
        "febf::1", "fec0::1", "ff02::1", "ff0e::1", "4000::1",
    };
    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        if (is_public(addresses[i])) {
            fail_msg("%s", addresses[i]);
        }
    }
}

static void reachable(void **state)
{
    static const char *const addresses[] = {
        "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
        "128.0.0.1", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.1", "192.167.255.255",
        "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:1.1.1.1",
        "64:ff9b::101:101", "2002:101:101::1", "2400:cb00::1", "2600::1", "2a00:1450:4001::1", "2606:4700::1111",
    };
    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        if (!is_public(addresses[i])) {
            fail_msg("%s", addresses[i]);
        }
    }
}

static void other_families(void **state)
{
    const struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/x"};
    (void)state;
    assert_false(upstream_is_public((const struct sockaddr *)&local));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused), cmocka_unit_test(reachable), cmocka_unit_test(other_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

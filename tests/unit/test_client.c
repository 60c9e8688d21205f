/* test_client.c - whose address a request is recorded with, behind proxies that are trusted or not. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "proto/vault_messages.h"
#include "services/gateway/client.h"

static struct sockaddr_storage socket_of(const char *text)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *v4 = (void *)&address;
    struct sockaddr_in6 *v6 = (void *)&address;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        address.ss_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        address.ss_family = AF_INET6;
    }
    return address;
}

struct sample {
    const char *peer, *header, *client;
};

static void check(const struct sample *samples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char client[CLIENT_MAX + 1];
        struct sockaddr_storage peer = socket_of(samples[i].peer);
        client_find((const struct sockaddr *)&peer, view_text(samples[i].header), client);
        assert_string_equal(client, samples[i].client);
    }
}
#define CHECK(samples) check(samples, sizeof(samples) / sizeof(samples)[0])

static void nobody_is_trusted_unless_named(void **state)
{
    static const struct sample samples[] = {
        {"127.0.0.1", "1.2.3.4", "127.0.0.1"},
        {"::1", "1.2.3.4", "::1"},
        {"::ffff:9.8.7.6", "", "9.8.7.6"},
    };
    (void)state;
    assert_int_equal(client_trust("", "x-forwarded-for"), STATUS_OK);
    assert_null(client_header());
    CHECK(samples);
}

static void the_list_is_read_from_its_end(void **state)
{
    static const struct sample samples[] = {
        {"10.1.2.3", "", "10.1.2.3"},
        {"10.1.2.3", "203.0.113.9", "203.0.113.9"},
        {"10.1.2.3", "6.6.6.6, 203.0.113.9", "203.0.113.9"},          /* the first one is made up */
        {"10.1.2.3", "6.6.6.6,203.0.113.9 ,\t192.0.2.7", "203.0.113.9"}, /* two proxies */
        {"10.1.2.3", "10.9.9.9, 192.0.2.7", "10.9.9.9"},              /* all are ours */
        {"10.1.2.3", "203.0.113.9, unknown", "10.1.2.3"},
        {"10.1.2.3", "203.0.113.9, nonsense, 192.0.2.7", "192.0.2.7"},
        {"10.1.2.3", "203.0.113.9,, ,", "203.0.113.9"},
        {"10.1.2.3", ",,,", "10.1.2.3"},
        {"10.1.2.3", "203.0.113.9:4711", "203.0.113.9"},
        {"10.1.2.3", "[2001:db8::9]:4711", "2001:db8::9"},
        {"10.1.2.3", "2001:DB8:0::9", "2001:db8::9"},
        {"10.1.2.3", "::ffff:203.0.113.9", "203.0.113.9"},
        {"10.1.2.3", "203.0.113.9\", \"x", "10.1.2.3"},
        {"11.1.2.3", "203.0.113.9", "11.1.2.3"},                      /* not ours: not believed */
        {"192.0.2.8", "203.0.113.9", "192.0.2.8"},
        {"2001:db8:1::5", "203.0.113.9", "203.0.113.9"},
        {"2001:db8:2::5", "203.0.113.9", "2001:db8:2::5"},
        {"::ffff:10.1.2.3", "203.0.113.9", "203.0.113.9"},
    };
    (void)state;
    assert_int_equal(client_trust("10.0.0.0/8, 192.0.2.7,2001:db8:1::/48", "X-Forwarded-For"),
                     STATUS_OK);
    assert_string_equal(client_header(), "X-Forwarded-For");
    CHECK(samples);
}

static void rfc_7239_is_read_too(void **state)
{
    static const struct sample samples[] = {
        {"10.1.2.3", "for=203.0.113.9;proto=https;by=10.1.2.3", "203.0.113.9"},
        {"10.1.2.3", "proto=https; For=\"[2001:db8::9]:4711\"", "2001:db8::9"},
        {"10.1.2.3", "for=6.6.6.6, for=203.0.113.9, for=10.4.4.4", "203.0.113.9"},
        {"10.1.2.3", "for=203.0.113.9, for=_hidden", "10.1.2.3"},
        {"10.1.2.3", "203.0.113.9", "10.1.2.3"},
        {"10.1.2.3", "by=203.0.113.9", "10.1.2.3"},
    };
    (void)state;
    assert_int_equal(client_trust("10.0.0.0/8", "forwarded"), STATUS_OK);
    assert_string_equal(client_header(), "Forwarded");
    CHECK(samples);
}

static void odd_prefixes_hold(void **state)
{
    static const struct sample samples[] = {
        {"172.16.5.4", "203.0.113.9", "203.0.113.9"}, {"172.31.255.255", "203.0.113.9", "203.0.113.9"},
        {"172.32.0.1", "203.0.113.9", "172.32.0.1"},  {"172.15.0.1", "203.0.113.9", "172.15.0.1"},
        {"fd00::1", "203.0.113.9", "203.0.113.9"},    {"fe00::1", "203.0.113.9", "fe00::1"},
    };
    (void)state;
    assert_int_equal(client_trust("172.16.0.0/12,fc00::/7", "x-forwarded-for"), STATUS_OK);
    CHECK(samples);
    assert_int_equal(client_trust("0.0.0.0/0", "x-forwarded-for"), STATUS_OK);
    CHECK(((const struct sample[]){{"8.8.8.8", "1.1.1.1, 2.2.2.2", "1.1.1.1"}}));
}

static void nonsense_stops_the_start(void **state)
{
    static const char *const bad[] = {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "10.0.0/8", "::/129", "a.example",
                                      "10.0.0.0/8,,1.2.3.4", "10.0.0.0/0008", "fe80::1%lo"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(client_trust(bad[i], "x-forwarded-for"), STATUS_INVALID);
    }
    assert_int_equal(client_trust("10.0.0.0/8", "x-real-ip"), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_trusted_unless_named),
        cmocka_unit_test(the_list_is_read_from_its_end),
        cmocka_unit_test(rfc_7239_is_read_too),
        cmocka_unit_test(odd_prefixes_hold),
        cmocka_unit_test(nonsense_stops_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_token.c - the form of tokens: made, checked, and refused for any changed character. */
#include "tests/unit/unit.h"

#include "common/token.h"

static void crc_is_the_ieee_one(void **state)
{
    (void)state;
    assert_int_equal(token_crc32(VIEW("123456789")), 0xCBF43926u); /* the check value of CRC-32 */
}

static void made_tokens_pass(void **state)
{
    (void)state;
    char token[TOKEN_SIZE_MAX + 1];
    struct view label;
    assert_int_equal(token_new(VIEW("openai"), token), STATUS_OK);
    assert_int_equal(strlen(token), 5 + 6 + 1 + 43 + 6);
    assert_true(token_check(view_text(token), &label));
    assert_true(view_is(label, "openai"));
}

static void any_changed_character_fails(void **state)
{
    (void)state;
    char token[TOKEN_SIZE_MAX + 1];
    assert_int_equal(token_new(VIEW("agent"), token), STATUS_OK);
    size_t size = strlen(token);
    for (size_t i = 0; i < size; i++) {
        char kept = token[i];
        token[i] = kept == 'q' ? 'r' : 'q';
        assert_false(token_check(view_of(token, size), NULL));
        token[i] = kept;
    }
    for (size_t cut = 0; cut < size; cut++) { /* one length is that of an imported token */
        struct view part = view_of(token, cut);
        assert_int_equal(token_check(part, NULL), cut == 5 + 6 + TOKEN_IMPORTED_AGENT_CHARS);
    }
}

static void labels_are_strict(void **state)
{
    (void)state;
    char token[TOKEN_SIZE_MAX + 1];
    assert_int_equal(token_new(VIEW(""), token), STATUS_INVALID);
    assert_int_equal(token_new(VIEW("Open"), token), STATUS_INVALID);
    assert_int_equal(token_new(VIEW("a_b"), token), STATUS_INVALID);
    assert_int_equal(token_new(VIEW("abcdefghijklmnopqrstuvwxyz0123456"), token), STATUS_INVALID);
}

static void ids_differ(void **state)
{
    (void)state;
    char a[ID_SIZE_MAX + 1], b[ID_SIZE_MAX + 1];
    id_new("req", a);
    id_new("req", b);
    assert_int_equal(strlen(a), 26);
    assert_string_not_equal(a, b);
}

/* Imported tokens have no checksum: their shape is all that is checked before they are looked for. */
static void imported_shapes_are_let_through(void **state)
{
    (void)state;
    static const char *const good[] = {
        "seks_openai__kkkkkkkkkkkkkkkkkkkkkkk",     /* "__" and 23 */
        "seks_openai_A-_9A-_9A-_9A-_9A-_9A-_9",     /* 24 */
        "seks_agent_aB3-_aB3-_aB3-_aB3-_aB3-_aB3-_xy", /* 32 */
    };
    static const char *const bad[] = {
        "seks_openai_kkkkkkkkkkkkkkkkkkkkkkk",      /* 23 */
        "seks_openai__kkkkkkkkkkkkkkkkkkkkkkkkk",   /* 25 */
        "seks_openai__kkkkkkkkkkkkkkkkkkkkkk.",
        "seks_agent__kkkkkkkkkkkkkkkkkkkkkkk",
        "seks__kkkkkkkkkkkkkkkkkkkkkkkk",
        "seks_",
    };
    struct view label;
    char own[TOKEN_SIZE_MAX + 1];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(token_check(view_text(good[i]), &label));
        assert_true(token_is_imported(view_text(good[i])));
        assert_true(view_is(label, i == 2 ? "agent" : "openai"));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(token_check(view_text(bad[i]), &label));
    }
    assert_int_equal(token_new(VIEW("openai"), own), STATUS_OK);
    assert_false(token_is_imported(view_text(own)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imported_shapes_are_let_through),
        cmocka_unit_test(crc_is_the_ieee_one),       cmocka_unit_test(made_tokens_pass),
        cmocka_unit_test(any_changed_character_fails), cmocka_unit_test(labels_are_strict),
        cmocka_unit_test(ids_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

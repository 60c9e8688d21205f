# The command without a broker; with one it is tests/e2e/test_cli.py.
seks_unit_test(test_cli cli_lib)

"""A faithful SendGrid stand-in and a simulated customer base: product code, tested like it."""

#: Decides everything about the simulated customer base of `uptake demo`.
SEED = 7
ACCOUNTS, CONTACTS = 400, 6_000

"""A faithful SendGrid stand-in and a simulated customer base: product code, tested like it."""

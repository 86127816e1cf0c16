"""Uptake: from product-usage logs to customer-success work that pays, with proof."""

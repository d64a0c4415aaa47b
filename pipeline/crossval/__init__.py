"""Cross-validation: a configuration is trained once for every fold, and measured on what it did not see."""

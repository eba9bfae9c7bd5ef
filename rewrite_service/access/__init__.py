"""Who may call what: tokens, scopes, tenants, quotas, TLS. Start with `door.Access`."""

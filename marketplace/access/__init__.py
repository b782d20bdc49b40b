"""Who is asking: client assertions, access tokens, roles."""

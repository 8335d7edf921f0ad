"""What every HTTP route shares: problems, pages, bodies, origins, client addresses, rate limits."""

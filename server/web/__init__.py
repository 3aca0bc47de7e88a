"""What people see of a server in a browser."""

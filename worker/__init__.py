"""The engine: owns accepted submissions and delivers them. Imports nothing from `service`."""

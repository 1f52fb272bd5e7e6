"""Programs that use Ottla as a user would. Run from the root of the repository."""

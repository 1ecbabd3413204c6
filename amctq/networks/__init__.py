"""The float network: found in the registry or a user's file, loaded from a checkpoint, exported and verified."""

"""What a plugin implements, and the data that travels between the rooms; public through `ofacore.protocols`."""

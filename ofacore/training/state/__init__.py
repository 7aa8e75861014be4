"""What a run keeps of its training, under names that outlive the layout."""

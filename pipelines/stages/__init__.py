"""What each stage of a study does; `order` lists the stages."""

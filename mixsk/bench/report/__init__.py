"""What a run has found: statistics, figures and the page of `mixsk bench report`; `mixsk bench compare`."""

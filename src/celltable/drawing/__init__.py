"""Pictures, plots and pages shared by reports, figures and the viewer."""

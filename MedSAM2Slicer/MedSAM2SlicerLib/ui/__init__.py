"""The panel of the module and of the Segment Editor effect: the only part of the library that knows Qt."""

"""ComVint's open questions in small: arms that differ in one thing are tuned and asked alike, compared and drawn."""

"""ComVint's open questions at small scale: arms that differ in one thing are tuned, evaluated and compared."""

"""Hear, see and tune what a Pipecat bot sends over Bandwidth.

The map; import the module that you need, this package imports nothing by itself. Data flows down.

=================== ==============================================================================
``tap``             ``Tap(serializer, where)``: records a live call, in the bot
``capture``         the file: one MCAP a call, append-only, readable after a crash
``audio``           ``Audio(samples, sample_rate)``: the value that every analysis takes
``playout``         what the far end played, and when it ran dry
``call``            ``Call.open(path)``: five signals, events, turns, counters on one clock
``findings``        ``diagnose(call)``: what was wrong, how bad, why, what to change
``replay``          the captured speech through the real serializer with other settings
``farleg``          the caller's leg: what the phone network does to the sound
``metrics``         numbers from audio
``spectra``         spectrogram and long-term spectrum
``comparison``      ``compare(call)``: the same call through every outbound setting
``tuning``          ``tune(calls)``: the setting to use, how sure, and its JSON for the bot
``plots``           pictures: an axes in, an axes out
``report``          one HTML file that can be mailed
``simulator``       Bandwidth's side on loopback: webhook, BXML, media stream, Voice API
``bots``            the demo's bot: a real Pipecat pipeline with scripted speech
``cli``             ``workbench demo | simulate | summary | diagnose | compare | tune | report``
=================== ==============================================================================
"""

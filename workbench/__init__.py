"""Hear, see and tune what a Pipecat bot sends over Bandwidth.

The map; import the module that you need, this package imports nothing by itself. Data flows down.

=================== ==============================================================================
in the bot, light
``tap``             ``Tap(serializer, where)``: records a live call
``capture``         the file: one MCAP a call, append-only, readable after a crash
``observer``        the pipeline's own events, into the same file
the call
``audio``           ``Audio(samples, sample_rate)``: the value that every analysis takes
``call``            ``Call.open(path)``: five signals, events, turns, counters on one clock
``playout``         what the far end played, and when it ran dry
``levels``          numbers from one signal: levels, clipping, bandwidth
``spectra``         spectrogram and long-term spectrum
what is wrong
``findings``        ``diagnose(call)``: what was wrong, how bad, why, what to change
``detectors``       one function per kind of fault; ``python -m workbench.detectors`` lists them
which setting
``said``            what the bot said, as the pipeline produced it
``segments``        speech cut into stretches of ten seconds
``replay``          that speech through the real serializer with other settings
``rerun``           a whole call through the serializer again: the same messages, or not
``farleg``          the caller's leg: what the phone network does to the sound
``carrier``         a carrier's recording, aligned: which leg it really was
``alignment``       delay between two signals
``prepared``        a signal, prepared to be measured
``metrics``         numbers from a reference and what became of it
``quality``         optional scores (ViSQOL, PESQ), each in a process of its own
``objective``       what counts on a leg, and how much of it matters
``trial``           one setting on one call, over several legs
``comparison``      ``compare(call)``: the same call through every outbound setting
``conclusion``      what a comparison comes to, in sentences
``tuning``          ``tune(calls)``: the setting to use, how sure, and its JSON for the bot
``batch``           the same for many captures, on processes or a cluster
``blind``           a blind listening test and its score
to see and hear
``plots``           pictures: an axes in, an axes out
``timeline``        ``CallTimeline(call)``: the player in Jupyter; a blind listening test
``panel``           controls round comparison and tuning, in Jupyter
``background``      work that can be called off, for the panel
``report``          one HTML file that can be mailed
``exports``         WAV, FLAC, RTP for Wireshark, Audacity labels, CSV
``terminal``        what commands print
calls to try with
``simulator``       Bandwidth's side on loopback: webhook, BXML, media stream, Voice API
``bots``            the demo's bot: a real Pipecat pipeline
``scripted_speech`` what it says and when
``demo``            one simulated call through everything
``cli``             ``workbench demo | simulate | summary | diagnose | compare | tune | report ...``
=================== ==============================================================================
"""

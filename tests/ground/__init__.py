"""The ground on which the diagnosis is judged: recorded runs of real pipelines, foreign voices.

========================= ==========================================================================
``voices`` ``noises``      phrases of voices nobody here chose; callers that are no voice
``scenarios``              the table of runs: what bot and caller do, what is rightly told of it
``bot``                    a real Pipecat pipeline on a real WebSocket, its services canned
``caller``                 Bandwidth's side of one call, and what it knows to be true of it
``record``                 runs the table, on any Pipecat
``calls``                  recorded runs with their voices exchanged: hours of clean calls
``take``                   one of these calls in the making, its sound and records still open
``planting``               faults of known size, planted into them: ``planted_sound``, ``_noise``, ``_time``, ``_turns``
``trials``                 what the diagnosis says of one planted fault
``judge``                  what the diagnosis says of them, by kind
========================= ==========================================================================

Nothing in here uses the simulator: what it takes for granted must not be shared.
"""

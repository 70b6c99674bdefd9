// What the person writes at a place of the call. A part of timeline.js; the kernel keeps it, in a file
// beside the capture (notes.py).

const LONGEST = 2000; // characters

class Noting {
  constructor(player) {
    this.player = player;
    this.button = button("Note", "Write a note at the selection, or at the play position (C)", () => this.open());
    this.place = make("span", "word");
    this.field = make("input", "note-field");
    Object.assign(this.field, { type: "text", placeholder: "What you noticed; empty for a mark", maxLength: LONGEST });
    this.field.setAttribute("aria-label", "Note");
    this.field.addEventListener("keydown", (event) => this.keyDown(event));
    this.form = make(
      "div", "bar", this.place, this.field,
      button("Keep", "Keep the note (Enter)", () => this.keep()),
      button("Cancel", "Write no note (Esc)", () => this.close()),
    );
    this.form.hidden = true;
  }

  show() { this.button.hidden = !this.player.contents.notes; }

  open(mark) {
    if (this.button.hidden) return;
    const { player } = this;
    const [from, until] = player.model.get("selection");
    const now = player.sound.now();
    this.span = mark ? [mark.start, mark.end] : until === undefined ? [now, now] : [from, until];
    this.id = mark?.id;
    this.field.value = mark?.written ?? "";
    const [start, end] = this.span;
    this.place.textContent = end > start ? `${clock(start)} to ${clock(end)}` : clock(start);
    this.form.hidden = false;
    this.field.focus();
  }

  close() {
    this.form.hidden = true;
    this.player.stage.focus({ preventScroll: true });
  }

  keyDown(event) {
    if (event.key === "Enter") this.keep();
    else if (event.key === "Escape") this.close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  async keep() {
    const [start, end] = this.span;
    await this.ask({ write: { start, end, text: this.field.value.trim(), id: this.id } });
  }

  async ask(what) {
    const { player } = this;
    try {
      const { reply } = await player.kernel.ask("note", what);
      player.takeMarks(reply);
      this.close();
      if (!reply.problem) player.say("");
    } catch (error) {
      player.say(error.message);
    }
  }

  actions(mark) { // what can be done with one that is there
    return make(
      "div", "bar",
      button("Change", "Write it anew", () => this.open(mark)),
      button("Remove", "Take the note away", () => this.ask({ remove: mark.id })),
    );
  }
}

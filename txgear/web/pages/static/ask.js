// A question before what cannot be undone.

/**
 * @param {string} question a sentence.
 * @param {string} yes what the button says that goes on.
 * @returns {Promise<boolean>} whether to go on; not for Esc.
 */
export function ask(question, yes) {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "question");
  const text = document.createElement("p");
  text.id = "question";
  text.textContent = question;
  const form = document.createElement("form");
  form.method = "dialog";
  form.className = "actions";
  // The first one has the focus, and Enter is what leaves all as it is.
  form.append(choice("", "No, leave it"), choice("yes", yes));
  form.lastChild.className = "danger";
  dialog.append(text, form);
  document.body.append(dialog);
  dialog.showModal();
  dialog.addEventListener("close", () => dialog.remove());
  return new Promise((answer) => {
    // Answered here, where the focus goes back. "close" comes later, and the next key may be quicker.
    for (const kind of ["submit", "cancel"]) {
      dialog.addEventListener(kind, (event) => {
        event.preventDefault();
        dialog.close();
        answer(event.submitter?.value === "yes");
      });
    }
  });
}

function choice(value, label) {
  const button = document.createElement("button");
  button.value = value;
  button.textContent = label;
  return button;
}

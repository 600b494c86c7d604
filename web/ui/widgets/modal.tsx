import { createUniqueId, type JSX, onCleanup, onMount } from "solid-js";

/** A modal dialog: the browser's own, which traps the focus and closes on Escape. */
export function Modal(props: { title: string; wide?: boolean; onClose: () => void; children: JSX.Element }) {
  const heading = createUniqueId();
  let element!: HTMLDialogElement;
  onMount(() => {
    element.showModal();
    element.querySelector<HTMLElement>("[data-focus]")?.focus();
  });
  onCleanup(() => element.close());
  return (
    <dialog
      ref={element}
      class="modal"
      classList={{ wide: props.wide ?? false }}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
    >
      <h2 id={heading}>{props.title}</h2>
      {props.children}
    </dialog>
  );
}

/** The row of buttons at a dialog's end. */
export function ModalButtons(props: { children: JSX.Element }) {
  return <div class="modal-buttons">{props.children}</div>;
}

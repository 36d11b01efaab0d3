// Building nodes: text only ever becomes text, never HTML.
import { isHttpUrl } from './values';

type Child = Node | string | null;

export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const node = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    node.setAttribute(attribute, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** An element that index.html holds. */
export function required<Type extends HTMLElement>(id: string, type: new () => Type): Type {
  const node = document.getElementById(id);
  if (!(node instanceof type)) {
    throw new Error(`The page has no ${type.name} with the id ${id}.`);
  }
  return node;
}

/** One of the symbols of index.html. */
export function icon(name: 'image' | 'copy' | 'check' | 'alert' | 'clock'): SVGElement {
  const namespace = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(namespace, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(namespace, 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A link for http and https; any other address stays plain text. */
export function linkOrText(address: string): Node {
  if (!isHttpUrl(address)) {
    return element('span', {}, address);
  }
  return element('a', { href: address, target: '_blank', rel: 'noopener noreferrer' }, address);
}

export function button(label: string, onClick: () => void, className = 'secondary') {
  const node = element('button', { type: 'button', class: className }, label);
  node.addEventListener('click', onClick);
  return node;
}

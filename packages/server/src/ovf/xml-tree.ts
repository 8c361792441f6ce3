import { Problem } from '@virt8ra/contract';

/** An element. Names are without their prefixes: OVF's schemas have no two elements that differ by it alone. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** Its own text, without that of its children, trimmed. */
  readonly text: string;
}

const refuse = (reason: string): Problem => new Problem('validation', `the descriptor is refused: ${reason}`);

const elementsMost = 20_000;
const depthMost = 64;
const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

interface Open {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: XmlElement[];
  readonly texts: string[];
}

/**
 * Reads XML of a stranger: elements, attributes and text, and no document type at all, so that there is nothing to expand and nothing to fetch.
 * Raises `validation` for what is not well formed, or has more than 20 000 elements or 64 levels.
 */
export function readXml(text: string): XmlElement {
  const root: Open = { name: '', attributes: {}, children: [], texts: [] };
  const open: Open[] = [root];
  let elements = 0;
  let at = text.startsWith('\ufeff') ? 1 : 0;
  while (at < text.length) {
    const next = text.indexOf('<', at);
    const inside = open.at(-1) ?? root;
    inside.texts.push(unescaped(text.slice(at, next === -1 ? text.length : next)));
    if (next === -1) break;
    if (text.startsWith('<!--', next)) at = after(text, '-->', next);
    else if (text.startsWith('<![CDATA[', next)) {
      at = after(text, ']]>', next);
      inside.texts.push(text.slice(next + 9, at - 3));
    } else if (text.startsWith('<?', next)) at = after(text, '?>', next);
    else if (text.startsWith('<!', next)) throw refuse('it has a document type, which could name other files or grow without bound');
    else if (text.startsWith('</', next)) {
      at = after(text, '>', next);
      const name = localName(text.slice(next + 2, at - 1).trim());
      const closed = open.length > 1 ? open.pop() : undefined;
      if (closed === undefined || closed.name !== name) throw refuse(`</${name.slice(0, 60)}> ends what was not begun`);
      open.at(-1)?.children.push(elementOf(closed));
    } else {
      at = endOfTag(text, next);
      elements += 1;
      if (elements > elementsMost) throw refuse(`it has more than ${elementsMost} elements`);
      const isEmpty = text[at - 2] === '/';
      const begun = begunBy(text.slice(next + 1, at - (isEmpty ? 2 : 1)));
      if (isEmpty) inside.children.push(elementOf(begun));
      else open.push(begun);
      if (open.length > depthMost) throw refuse(`it is nested more than ${depthMost} levels deep`);
    }
  }
  const [only] = root.children;
  if (open.length > 1) throw refuse(`it ends within <${open.at(-1)?.name ?? ''}>; it is cut short`);
  if (only === undefined || root.children.length > 1 || elementOf(root).text !== '') throw refuse('it is no XML with one root');
  return only;
}

/** The children of that name. */
export function childrenOf(element: XmlElement | undefined, name: string): readonly XmlElement[] {
  return element?.children.filter((child) => child.name === name) ?? [];
}

/** Text of the first child of that name; undefined when there is none, or it is empty. */
export function textOf(element: XmlElement | undefined, name: string): string | undefined {
  const text = childrenOf(element, name)[0]?.text;
  return text === '' ? undefined : text;
}

function elementOf({ name, attributes, children, texts }: Open): XmlElement {
  return { name, attributes, children, text: texts.join('').trim() };
}

function after(text: string, end: string, from: number): number {
  const at = text.indexOf(end, from);
  if (at === -1) throw refuse('it is cut short');
  return at + end.length;
}

/** Behind the `>` that ends a tag; one in quotes does not. */
function endOfTag(text: string, from: number): number {
  let quote = '';
  for (let at = from; at < text.length; at += 1) {
    const octet = text[at] ?? '';
    if (quote !== '') quote = octet === quote ? '' : quote;
    else if (octet === '"' || octet === "'") quote = octet;
    else if (octet === '>') return at + 1;
  }
  throw refuse('it is cut short');
}

function begunBy(tag: string): Open {
  const [name = ''] = /^[^\s/=<>"']+/.exec(tag) ?? [];
  if (name === '') throw refuse('it has a tag without a name');
  const attributes: Record<string, string> = {};
  const pattern = /\s+([^\s=<>"'/]+)\s*=\s*("[^"<]*"|'[^'<]*')/gy;
  pattern.lastIndex = name.length;
  let end = name.length;
  for (let found = pattern.exec(tag); found !== null; found = pattern.exec(tag)) {
    const [, key = '', value = ''] = found;
    end = pattern.lastIndex;
    if (key === 'xmlns' || key.startsWith('xmlns:')) continue;
    attributes[localName(key)] = unescaped(value.slice(1, -1));
  }
  if (tag.slice(end).trim() !== '') throw refuse(`<${name.slice(0, 60)}> has an attribute that is not well formed`);
  return { name: localName(name), attributes, children: [], texts: [] };
}

function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1);
}

function unescaped(text: string): string {
  if (!text.includes('&')) return text;
  return text.replaceAll(/&([^;&\s]{0,10};?)/g, (whole, reference: string) => {
    const [, decimal, hex] = /^#(?:(\d{1,7})|x([0-9a-fA-F]{1,6}));$/.exec(reference) ?? [];
    const code = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal);
    if (code > 0 && code <= 0x10ffff) return String.fromCodePoint(code);
    const known = reference.endsWith(';') ? entities[reference.slice(0, -1)] : undefined;
    if (known === undefined) throw refuse(`it has the entity ${whole.slice(0, 20)}, which is not one of XML's own`);
    return known;
  });
}

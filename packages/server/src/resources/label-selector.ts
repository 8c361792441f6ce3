import { Problem } from '@virt8ra/contract';
import { isStorableText } from './storable-text.js';
import type { LabelTerm } from './store.js';

/**
 * SECA's label selector: comma-separated terms, all of which must hold. `=` `!=` compare texts, `*` stands for any text on either side;
 * `>` `>=` `<` `<=` compare numbers. A key may carry a namespace (`ns:key`). `!=` also holds where the label is absent.
 */

const termPattern = /^([^=!<>,\s]{1,128})\s*(!=|>=|<=|=|>|<)\s*((?!=).*)$/s;
const numberPattern = /^-?\d{1,30}(\.\d{1,30})?$/;
const longest = 4096;
const mostTerms = 32;

/** Raises `invalid-request` that names the parameter. An empty text selects everything. */
export function parseSelector(text: string, parameter = 'labels'): readonly LabelTerm[] {
  const wrong = (why: string): Problem => new Problem('invalid-request', `the label selector ${why}`, { sources: [{ parameter }] });
  if (text.length > longest) throw wrong(`is longer than ${longest} characters`);
  if (!isStorableText(text)) throw wrong('holds characters that no label can have');
  const parts = text.split(',').map((part) => part.trim());
  if (parts.length === 1 && parts[0] === '') return [];
  if (parts.length > mostTerms) throw wrong(`has more than ${mostTerms} terms`);
  return parts.map((part) => {
    const [, key, operator, value] = termPattern.exec(part) ?? [];
    if (key === undefined || operator === undefined || value === undefined) {
      throw wrong(`has the term ${JSON.stringify(part)}; write key=value, key!=value, key>number, key>=number, key<number or key<=number`);
    }
    if (isRelation(operator) && !numberPattern.test(value))
      throw wrong(`compares ${key} with ${JSON.stringify(value)}, which is no number`);
    return { key, operator: operator as LabelTerm['operator'], value };
  });
}

export function matchesSelector(selector: readonly LabelTerm[], labels: Readonly<Record<string, string>>): boolean {
  return selector.every((term) => matchesTerm(term, labels));
}

function matchesTerm(term: LabelTerm, labels: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(labels).filter((key) => matchesWildcards(term.key, key));
  const values = keys.map((key) => labels[key] ?? '');
  switch (term.operator) {
    case '=':
      return values.some((value) => matchesWildcards(term.value, value));
    case '!=':
      return !values.some((value) => matchesWildcards(term.value, value));
    default:
      return values.some((value) => numberPattern.test(value) && compare(Number(value), term.operator, Number(term.value)));
  }
}

function compare(left: number, operator: LabelTerm['operator'], right: number): boolean {
  if (operator === '>') return left > right;
  if (operator === '>=') return left >= right;
  return operator === '<' ? left < right : left <= right;
}

function isRelation(operator: string): boolean {
  return operator !== '=' && operator !== '!=';
}

/** Greedy with one step back, so that hostile patterns cost no more than pattern × text. */
function matchesWildcards(pattern: string, text: string): boolean {
  let inPattern = 0;
  let inText = 0;
  let star = -1;
  let resume = 0;
  while (inText < text.length) {
    if (pattern[inPattern] === '*') {
      star = inPattern;
      inPattern += 1;
      resume = inText;
    } else if (pattern[inPattern] === text[inText]) {
      inPattern += 1;
      inText += 1;
    } else if (star >= 0) {
      resume += 1;
      inPattern = star + 1;
      inText = resume;
    } else return false;
  }
  while (pattern[inPattern] === '*') inPattern += 1;
  return inPattern === pattern.length;
}

/** True for a term that the label table answers in the order of names. */
export function isIndexed(term: LabelTerm): boolean {
  return term.operator === '=' && !hasWildcard(term.key) && !hasWildcard(term.value);
}

function hasWildcard(text: string): boolean {
  return text.includes('*');
}

/** SQL condition of a term on a jsonb column of labels; `bind` takes a value and answers its placeholder. */
export function termCondition(term: LabelTerm, labels: string, bind: (value: unknown) => string): string {
  const value = (column: string): string => {
    if (isRelation(term.operator)) {
      const numeric = `${column} ~ '^-?[0-9]{1,30}([.][0-9]{1,30})?$'`;
      return `(case when ${numeric} then ${column}::numeric ${term.operator} ${bind(term.value)}::numeric else false end)`;
    }
    return hasWildcard(term.value) ? `${column} like ${bind(likePattern(term.value))}` : `${column} = ${bind(term.value)}`;
  };
  const holds = hasWildcard(term.key)
    ? `exists (select 1 from jsonb_each_text(${labels}) as label where label.key like ${bind(likePattern(term.key))} and ${value('label.value')})`
    : `coalesce(${value(`(${labels} ->> ${bind(term.key)})`)}, false)`;
  return term.operator === '!=' ? `not ${holds}` : holds;
}

function likePattern(text: string): string {
  return text.replace(/[\\%_]/g, '\\$&').replaceAll('*', '%');
}

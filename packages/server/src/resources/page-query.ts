import { type Kind, Problem } from '@virt8ra/contract';
import { isIndexed, termCondition } from './label-selector.js';
import { type ParentRange, parentCondition } from './parent-range.js';
import { resourceColumns } from './resource-row.js';
import { isStorableText } from './storable-text.js';
import type { LabelTerm, ListQuery } from './store.js';

/**
 * SQL of a page. Written so that no statistics, however stale, can make the planner read a whole collection:
 * - a plain page walks the key (kind, parent, name);
 * - a page with an equality term walks the label key of that term, which holds the names in order, and looks each resource up (LATERAL
 *   leaves no other join); the remaining terms only filter;
 * - the limit is written into the text: with a parameter, a generic plan would expect a tenth of the table.
 * A page whose only terms are `!=`, comparisons or wildcards walks the collection until it is full.
 */
export interface PageQuery {
  readonly text: string;
  readonly values: unknown[];
}

/** `driver` is the equality term to walk; undefined walks names. One row more than the limit tells whether there is a next page. */
export function pageQuery(kind: Kind, range: ParentRange, query: ListQuery, driver: LabelTerm | undefined): PageQuery {
  const values: unknown[] = [];
  const bind = (value: unknown): string => `$${values.push(value)}`;
  const limit = query.limit + 1;
  const filters = (alias: string): string => {
    const named = query.names === undefined ? '' : ` and ${alias}.name = any(${bind(query.names)}::text[])`;
    const terms = query.selector.filter((term) => term !== driver);
    return named + terms.map((term) => ` and ${termCondition(term, `${alias}.labels`, bind)}`).join('');
  };
  const position = positionFromText(query.after);

  if (driver !== undefined) {
    return {
      text: `select found.* from resource_label as label
        cross join lateral (
          select ${resourceColumns}, parent from resource
          where kind = label.kind and parent = label.parent and name = label.name offset 0
        ) as found
        where label.kind = ${bind(kind.kind)} and label.parent = ${bind(range.path)}
          and label.key = ${bind(driver.key)} and label.value = ${bind(driver.value)}
          ${position === undefined ? '' : `and label.name > ${bind(position.name)}`}${filters('found')}
        order by label.name limit ${limit}`,
      values,
    };
  }

  const branch = (table: string): string => {
    const after =
      position === undefined
        ? ''
        : range.exact
          ? `and (name, uid) > (${bind(position.name)}, ${bind(position.uid)})`
          : `and (parent, name, uid) > (${bind(position.parent)}, ${bind(position.name)}, ${bind(position.uid)})`;
    return `(select ${resourceColumns}, parent from ${table} as found
      where kind = ${bind(kind.kind)} and ${parentCondition(range, 'parent', bind)} ${after}${filters('found')}
      order by ${range.exact ? '' : 'parent, '}name, uid limit ${limit})`;
  };
  if (query.deleted === 'only') return { text: branch('tombstone'), values };
  if (query.deleted !== 'with') return { text: liveBranch(), values };
  return { text: `${branch('resource')} union all ${branch('tombstone')} order by parent, name, uid limit ${limit}`, values };

  /** A live name is unique below its parent, so that the walk needs no more than the key. */
  function liveBranch(): string {
    const after =
      position === undefined
        ? ''
        : range.exact
          ? `and name > ${bind(position.name)}`
          : `and (parent, name) > (${bind(position.parent)}, ${bind(position.name)})`;
    return `select ${resourceColumns}, parent from resource as found
      where kind = ${bind(kind.kind)} and ${parentCondition(range, 'parent', bind)} ${after}${filters('found')}
      order by ${range.exact ? '' : 'parent, '}name limit ${limit}`;
  }
}

/** How far the choice between several equality terms counts. */
const rare = 1000;

/** Counts the rows of each equality term, up to a bound, so that the rarest can be walked; undefined when there is nothing to choose. */
export function rarityQuery(kind: Kind, range: ParentRange, terms: readonly LabelTerm[]): PageQuery {
  const values: unknown[] = [kind.kind, range.path];
  const counts = terms.map((term, index) => {
    values.push(term.key, term.value);
    return `(select count(*)::integer from (
      select 1 from resource_label where kind = $1 and parent = $2 and key = $${values.length - 1} and value = $${values.length} limit ${rare}
    ) as counted) as term_${index}`;
  });
  return { text: `select ${counts.join(', ')}`, values };
}

/** Terms that the label key can walk: equality, in one parent, of what is alive. */
export function walkableTerms(range: ParentRange, query: ListQuery): readonly LabelTerm[] {
  return range.exact && (query.deleted ?? 'without') === 'without' ? query.selector.filter(isIndexed) : [];
}

export function textFromPosition(row: { readonly parent?: string; readonly name: string; readonly uid: string }): string {
  return `${row.parent ?? ''} ${row.name} ${row.uid}`;
}

function positionFromText(text: string | undefined): { readonly parent: string; readonly name: string; readonly uid: string } | undefined {
  if (text === undefined) return undefined;
  const [parent, name, uid, more] = text.split(' ');
  if (parent === undefined || name === undefined || uid === undefined || more !== undefined || !isStorableText(text)) {
    throw new Problem('invalid-request', 'the position in the list is not one that was given out');
  }
  return { parent, name, uid };
}

import type { ForecastInput, MigrationPlan, MoveFinding, MoveForecast } from '@virt8ra/contract';
import type { Paint } from './colour.js';
import { plain } from './table.js';
import { ageText, bytesText, durationText, pauseText } from './units.js';

interface Look {
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly paint: Paint;
}

const width = 11;
export const titled = (title: string, text: string): string => `${title.padEnd(width)} ${text}`;
const below = (text: string): string => `${' '.repeat(width)} ${text}`;

/** A plan as a person reads it: the verdict first, then where, how, what it takes, and what was found. */
export function planText(given: MigrationPlan, { now, paint }: Look): string {
  const { instance, verdict, from, to, mode, rungs, ranking, findings, forecast } = cleaned(given);
  const blocks = findings.filter(({ severity }) => severity === 'blocks').length;
  const warns = findings.filter(({ severity }) => severity === 'warns').length;
  const head =
    verdict === 'ready'
      ? paint('good', `${instance} can be moved${mode === undefined ? '' : ` ${mode}`}`)
      : paint('bad', `${instance} cannot be moved so: ${blocks} finding${blocks === 1 ? '' : 's'} in the way`);
  const lines = [`${head}${warns === 0 ? '' : `, ${warns} to know of`}. Nothing was changed.`];
  if (from !== undefined) lines.push(titled('from', placeText(from)));
  if (to !== undefined) {
    const chosen = ranking.find(({ site, host }) => site === to.site && host === to.host);
    lines.push(titled('to', `${placeText(to)}${chosen === undefined ? '' : `: ${chosen.reason}`}`));
  }
  for (const each of ranking.filter(({ site, host }) => site !== to?.site || host !== to?.host))
    lines.push(below(`not ${each.host}: ${each.reason}${each.mend === undefined ? '' : ` (${each.mend})`}`));
  for (const [index, rung] of rungs.entries()) {
    const word = rung.mode === mode ? paint('good', 'this') : rung.possible ? 'possible' : 'not possible';
    lines.push(
      (index === 0 ? titled('how', '') : below('')) +
        `${rung.mode.padEnd(5)} ${word}${rung.reason === undefined ? '' : `: ${rung.reason}`}`,
    );
  }
  if (forecast !== undefined) lines.push(...forecastLines(forecast, now));
  if (findings.length > 0) lines.push('findings');
  for (const finding of findings) lines.push(...findingLines(finding, paint));
  return `${lines.join('\n')}\n`;
}

function forecastLines(forecast: MoveForecast, now: number): readonly string[] {
  const { durationSeconds, pauseMs, bytes, egressCost, convergence, confidence, correction, from } = forecast;
  const between = (range: { readonly least: number; readonly most: number } | undefined, text: (value: number) => string): string =>
    range === undefined ? '' : ` (${text(range.least)} to ${text(range.most)})`;
  const lines = [
    titled(
      'takes',
      durationSeconds === undefined
        ? 'not known'
        : `about ${durationText(durationSeconds)}${between(confidence.durationSeconds, durationText)}`,
    ),
    titled('pause', pauseMs === undefined ? 'not known' : `about ${pauseText(pauseMs)}${between(confidence.pauseMs, pauseText)}`),
    titled('sends', bytes === undefined ? 'not known' : `about ${bytesText(bytes)}${between(confidence.bytes, bytesText)}`),
  ];
  const price = from.find(({ what }) => what === 'egress-price');
  if (egressCost !== undefined) lines.push(titled('egress', `about ${egressCost.amount.toFixed(2)} ${egressCost.currency}`));
  else if (price?.reason !== undefined) lines.push(titled('egress', `not known: ${price.reason}`));
  lines.push(titled('converges', `${verdictWords[convergence.verdict]}: ${convergence.reason}`));
  lines.push(titled('confidence', [confidence.level, ...confidence.reasons].join('; ')));
  if (correction.moves > 0)
    lines.push(
      below(
        `corrected by ${correction.moves} earlier move${correction.moves === 1 ? '' : 's'} between these hosts (duration ×${correction.duration.toFixed(2)})`,
      ),
    );
  for (const [index, input] of from.filter(({ what }) => what !== 'egress-price').entries())
    lines.push(index === 0 ? titled('made from', inputText(input, now)) : below(inputText(input, now)));
  return lines;
}

export const verdictWords = {
  converges: 'yes',
  'with-throttle': 'only held back',
  never: 'NO',
  'not-needed': 'not needed',
  unknown: 'not known',
} as const;

function inputText({ what, of, value, unit, source, observedAt, reason }: ForecastInput, now: number): string {
  const name = `${what.replaceAll('-', ' ')}${of === undefined ? '' : ` ${of}`}`;
  if (value === undefined) return `${name}: ${reason ?? 'not known'}`;
  const amount =
    unit === 'bytes'
      ? bytesText(value)
      : unit === 'bytes/s'
        ? `${bytesText(value)}/s`
        : `${Number(value.toPrecision(3))} ${unit ?? ''}`.trim();
  const seen = [...(source === undefined ? [] : [source]), ...(observedAt === undefined ? [] : [`${ageText(observedAt, now)} ago`])].join(
    ', ',
  );
  return `${name}: ${amount}${seen === '' ? '' : ` (${seen})`}${reason === undefined ? '' : `, ${reason}`}`;
}

export function findingLines({ code, severity, what, where, mend }: MoveFinding, paint: Paint): readonly string[] {
  const tone = severity === 'blocks' ? 'bad' : severity === 'warns' ? 'busy' : 'quiet';
  return [`  ${paint(tone, severity.padEnd(6))}  ${code}, ${where}: ${what}`, `          → ${mend}`];
}

function placeText({ site, host }: { readonly site: string; readonly host?: string }): string {
  return host === undefined ? `site ${site}` : `host ${host} at ${site}`;
}

/** What others wrote must not move the cursor or colour the screen. */
function cleaned<Value>(value: Value): Value {
  if (typeof value === 'string') return plain(value) as Value;
  if (Array.isArray(value)) return value.map(cleaned) as Value;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, cleaned(each)])) as Value;
}

import type { migration, StatusOf } from '@virt8ra/contract';
import { verdictWords } from './plan-text.js';
import { plain, tableText } from './table.js';
import { bytesText, durationText, pauseText } from './units.js';

const rows = [
  ['duration', 'durationSeconds', durationText],
  ['pause', 'pauseMs', pauseText],
  ['bytes', 'bytes', bytesText],
] as const;

/** What a move was expected to take beside what it took, and what was found before it began. */
export function forecastText({
  forecast,
  findings = [],
  actual,
}: Pick<StatusOf<typeof migration>, 'forecast' | 'findings' | 'actual'>): string {
  let text = '';
  if (forecast !== undefined) {
    const cells = rows.map(([title, name, said]) => {
      const [foreseen, took] = [forecast[name], actual?.[name]];
      const range = forecast.confidence[name];
      const deviation =
        foreseen === undefined || took === undefined || foreseen === 0 ? '-' : signed(Math.round((took / foreseen - 1) * 100));
      return [
        '',
        title,
        foreseen === undefined ? 'not known' : said(foreseen),
        range === undefined ? '-' : `${said(range.least)} to ${said(range.most)}`,
        took === undefined ? '-' : said(took),
        deviation,
      ];
    });
    text += `Forecast (${forecast.confidence.level} confidence, of ${forecast.at}):\n`;
    text += tableText(['', 'WHAT', 'FORECAST', 'BETWEEN', 'TOOK', 'DEVIATION'], cells, undefined);
    const { verdict, reason } = forecast.convergence;
    text += `  converges: ${verdictWords[verdict]}: ${plain(reason)}\n`;
  }
  if (findings.length > 0) text += 'Found before it began:\n';
  for (const { severity, code, where, what, mend } of findings)
    text += `  ${plain(`${severity.padEnd(6)}  ${code}, ${where}: ${what}`)}\n          → ${plain(mend)}\n`;
  return text;
}

function signed(percent: number): string {
  return `${percent > 0 ? '+' : ''}${percent} %`;
}

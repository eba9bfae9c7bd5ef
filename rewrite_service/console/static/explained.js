// One answer with its grounds: the decision, what it was made of, what each candidate has for and against it.

import { about } from './api.js'
import { contributions, meter, strip } from './bars.js'
import { day, h, percent, time } from './dom.js'
import { CACHES, REASONS, SOURCES, STAGES, layer, word } from './words.js'

const MOST = 14

const normal = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}' ]+/gu, ' ').replace(/\s+/g, ' ').trim()

/** The head of an answer: what was decided, and why. */
export function verdict(response, query, version = false) {
  const took = Object.entries(response.stage_us).reduce((sum, [name, us]) => (name === 'total' ? sum : sum + us), 0)
  const rewritten = response.decision === 'DECISION_REWRITE'
  return h('div', { class: `verdict card ${rewritten ? 'rewrite' : 'pass'}` },
    h('p', { class: 'decision' }, h('b', {}, rewritten ? 'Rewrite' : 'Pass'), ' ', h('q', {}, rewritten ? response.text : query)),
    h('p', { class: 'reason' }, h('code', {}, word(response.reason, 'REASON_')), ' ', REASONS[response.reason] ?? ''),
    h('dl', { class: 'figures' },
      entry('probability', percent(response.probability), meter(response.probability, 'probability')),
      entry('margin', response.margin.toFixed(2), meter(Math.max(0, response.margin), 'margin', 'quiet')),
      entry('layer', layer(response.layer) ?? '–'),
      entry('took', time(took)),
      version && entry('bundle', response.bundle_version)))
}

const entry = (name, value, drawn) => h('div', {}, h('dt', {}, name), h('dd', {}, value, drawn))

function course(answer) {
  const us = answer.response.stage_us
  const names = [...STAGES, ...Object.keys(us).filter((name) => name !== 'total' && !STAGES.includes(name))]
  const skipped = answer.response.skipped_stages
  return h('div', { class: 'card course' },
    h('h3', {}, 'Time by stage'),
    strip(names.filter((name) => us[name] !== undefined).map((name) => [name, us[name]])),
    h('p', { class: 'chips' },
      answer.caches.map((look) => h('span', { class: `chip ${look.hit ? 'hit' : 'missed'}`, title: look.cache }, look.hit ? '✓ ' : '✗ ', CACHES[look.cache] ?? look.cache, look.hit ? ' at hand' : ' not at hand')),
      skipped.length ? skipped.map((stage) => h('span', { class: 'chip bad' }, `skipped: ${stage}`)) : h('span', { class: 'chip' }, 'nothing skipped'),
      h('span', { class: 'chip' }, `bundle ${answer.response.bundle_version}`)))
}

/** Rules that hold now and are about this request. */
function rulesThatApply(rules, query, texts) {
  const now = Date.now()
  return rules.filter((rule) => {
    const over = Number(rule.expires_ms) && Number(rule.expires_ms) <= now
    const heard = rule.heard === normal(query)
    return !over && (rule.kind === 'RULE_KIND_PIN' ? heard : (heard || !rule.heard) && texts.has(normal(rule.rewrite)))
  })
}

function ruled(rules, query, candidates) {
  if (rules === null) return null
  const texts = new Set(candidates.map((candidate) => normal(candidate.text)))
  const found = rulesThatApply(rules, query, texts)
  if (!found.length) return null
  return h('div', { class: 'card applied' }, h('h3', {}, 'Rules that apply'),
    h('ul', {}, found.map((rule) => h('li', {},
      h('b', {}, word(rule.kind, 'RULE_KIND_')), ' ', h('q', {}, rule.rewrite), rule.heard ? '' : ' whatever is heard', ' – ', rule.reason,
      h('span', { class: 'quiet' }, ` (${rule.author}, ${Number(rule.expires_ms) ? 'until ' + day(rule.expires_ms) : 'until it is removed'})`)))))
}

/** {element, query, marked()}: what the page shows of an answer. `rule`: called with `Pin` or `Block`. */
export function explained(request, answer, rules, rule) {
  const all = [...answer.candidates.map((c, i) => ({ ...c, rank: i })), ...answer.left_out.map((c) => ({ ...c, rank: null }))]
  const grounds = h('div', { class: 'grounds' })
  const list = candidates(all, answer.response.text, (candidate) => why(grounds, candidate, rule))
  const element = h('div', { class: 'explained' },
    verdict(answer.response, request.query),
    answer.response.teach_suggestion?.subject && h('p', { class: 'card' }, 'The user might be asked what ', h('q', {}, answer.response.teach_suggestion.subject), ' means.'),
    ruled(rules, request.query, all),
    course(answer),
    all.length
      ? h('div', { class: 'weighed' }, h('div', { class: 'card' }, list.element), grounds)
      : h('p', { class: 'empty card' }, 'No candidate was weighed.'))
  return { element, query: request.query, marked: list.marked }
}

/** The list, which the arrow keys go through. `asked`: what was asked instead. `mark`: called with the candidate that is
 * marked. */
function candidates(all, asked, mark) {
  let visible = all
  let at = 0
  const options = h('div', { role: 'listbox', tabindex: 0, 'aria-label': 'Candidates', class: 'candidates', onkeydown: keys })

  function draw() {
    const firstLeftOut = visible.findIndex((candidate) => candidate.rank === null)
    options.replaceChildren(...visible.flatMap((candidate, i) => [i === firstLeftOut && h('p', { role: 'presentation', class: 'quiet' }, `Found too, and not ranked: ${visible.length - i}`), h('div', {
      role: 'option', id: `candidate-${i}`, 'aria-selected': i === at, class: candidate.rank === null ? 'left-out' : '', onclick: () => go(i),
    },
      h('span', { class: 'rank' }, candidate.rank === null ? '·' : candidate.rank || '='),
      h('span', { class: 'text' }, candidate.text,
        h('span', { class: 'chips' },
          candidate.rank === 0 && h('span', { class: 'chip' }, 'left alone'),
          asked !== '' && candidate.text === asked && h('span', { class: 'chip chosen' }, 'asked'),
          layer(candidate.layer) && h('span', { class: `chip ${layer(candidate.layer)}` }, layer(candidate.layer)),
          candidate.sources.filter((source) => source !== 'query' && source !== layer(candidate.layer)).map((source) => h('span', { class: 'chip', title: SOURCES[source] }, source.replaceAll('_', ' '))),
          candidate.retired && h('span', { class: 'chip bad' }, 'retired'),
          candidate.harm > 0 && h('span', { class: 'chip', title: 'by what came of it when served' }, `harm ${percent(candidate.harm)}`))),
      candidate.rank === null ? h('span') : h('span', { class: 'share' }, percent(candidate.probability), meter(candidate.probability, 'probability')))]).filter(Boolean))
    if (visible.length) {
      options.setAttribute('aria-activedescendant', `candidate-${at}`)
      mark(visible[at])
    } else {
      options.replaceChildren(h('p', { class: 'quiet' }, 'None of this layer.'))
      options.removeAttribute('aria-activedescendant')
      mark(null)
    }
  }

  function go(i) {
    at = Math.max(0, Math.min(visible.length - 1, i))
    draw()
    document.getElementById(`candidate-${at}`)?.scrollIntoView({ block: 'nearest' })
  }

  function keys(event) {
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: visible.length - 1 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    go(to)
  }

  const filters = [['all', () => true], ['personal', (c) => layer(c.layer) === 'personal'], ['global', (c) => layer(c.layer) === 'global']]
  const buttons = filters.map(([name, wanted]) => h('button', {
    type: 'button', 'aria-pressed': name === 'all', onclick: (event) => {
      buttons.forEach((button) => button.setAttribute('aria-pressed', button === event.currentTarget))
      visible = all.filter(wanted)
      at = 0
      draw()
    },
  }, `${name} ${all.filter(wanted).length}`))
  at = Math.max(all.findIndex((candidate) => asked !== '' && candidate.text === asked), 0) || (all[1]?.rank === 1 ? 1 : 0)
  draw()
  const element = [h('div', { class: 'head' }, h('h3', {}, 'Candidates'), h('div', { class: 'segments', role: 'group', 'aria-label': 'Layer' }, buttons)), options]
  return { element, marked: () => visible[at] ?? null }
}

/** What is for and against a candidate. */
async function why(place, candidate, rule) {
  place.replaceChildren()
  if (candidate === null) return
  const { features, scopes } = await about
  const parts = candidate.features.map((part) => ({ ...part, meaning: features[part.name] ?? '' }))
    .sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution))
  const some = parts.slice(0, MOST)
  const rest = parts.slice(MOST)
  const others = { name: `${rest.length} others`, meaning: 'the rest together', value: null, contribution: rest.reduce((sum, part) => sum + part.contribution, 0) }
  const table = h('div', {}, parts.length ? contributions(rest.length ? [...some, others] : some) : h('p', { class: 'quiet' }, 'Found, and not ranked: others stood before it. So it has no figures.'))
  const card = h('div', { class: 'card' },
    h('div', { class: 'head' }, h('h3', {}, 'For and against ', h('q', {}, candidate.text)),
      rest.length > 0 && h('button', { type: 'button', onclick: (event) => { table.replaceChildren(contributions(parts)); event.currentTarget.remove() } }, `All ${parts.length}`)),
    table,
    candidate.rank !== 0 && h('div', { class: 'buttons' },
      ['Pin', 'Block'].map((kind) => h('button', { type: 'button', disabled: !scopes.includes('admin'), title: scopes.includes('admin') ? '' : "Your token may not: it lacks the scope 'admin'.", onclick: () => rule(kind, candidate) }, kind, ' ', h('kbd', {}, kind[0].toLowerCase())))))
  place.replaceChildren(card)
}

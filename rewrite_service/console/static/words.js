// What the contract's enumerations are called on the page.

export const REASONS = {
  REASON_CONFIDENT: 'sure enough, and far enough ahead of any other meaning',
  REASON_TAUGHT: 'the user has said that this is what it means',
  REASON_PINNED: 'an operator has pinned it',
  REASON_NO_CANDIDATES: 'nothing near is known',
  REASON_LEAVE_IS_BETTER: 'the request as it is likelier serves',
  REASON_BELOW_THRESHOLD: 'the best rewrite is not sure enough',
  REASON_BELOW_MARGIN: 'two rewrites of different meaning are about equally likely',
  REASON_OUT_OF_TIME: 'there was no time left',
  REASON_EMPTY_QUERY: 'nothing is spelled in it',
  REASON_INTERNAL_ERROR: 'something broke inside; see the log',
  REASON_QUERY_LOOKS_FINE: 'next to no rewrite ever came of such a request',
  REASON_KNOWN_REWRITE: 'computed ahead, from what others said next and were served by',
  REASON_HOLD_OUT: 'sure enough, and withheld: this user gets no rewrites, for measuring',
  REASON_RETIRED: 'the best rewrite did harm when it was served',
  REASON_BLOCKED: 'an operator has blocked the rewrite',
}

export const word = (name, prefix) => name.slice(prefix.length).toLowerCase().replaceAll('_', ' ')
export const layer = (name) => ({ LAYER_PERSONAL: 'personal', LAYER_GLOBAL: 'global' })[name] ?? null

export const SOURCES = {
  query: 'the request itself',
  personal: 'worked for this user',
  personal_repair: 'repaired something near for this user',
  global: 'worked for several people',
  global_repair: 'repaired something near for several people',
  completion: 'a follow-up said in full',
  composition: 'a frame with another name',
  hypothesis: 'heard otherwise',
  taught: 'taught by this user',
  chain: 'what others said next, and were served by',
}

export const CACHES = {
  users: 'user', decisions: 'decision', text_vectors: 'meaning', text_sounds: 'sound',
}

export const KINDS = { PREFERENCE_KIND_ALIAS: 'means', PREFERENCE_KIND_NAME: 'is', PREFERENCE_KIND_LIKE: 'likes' }

/** Stages in the order in which they run. */
export const STAGES = ['convert', 'queue', 'personal', 'query', 'encode', 'retrieve', 'features', 'predict']

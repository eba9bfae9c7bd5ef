from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Channel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANNEL_UNSPECIFIED: _ClassVar[Channel]
    CHANNEL_VOICE: _ClassVar[Channel]
    CHANNEL_APP: _ClassVar[Channel]
    CHANNEL_TEXT: _ClassVar[Channel]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_OK: _ClassVar[Outcome]
    OUTCOME_NO_MATCH: _ClassVar[Outcome]
    OUTCOME_ERROR: _ClassVar[Outcome]

class Explicit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPLICIT_UNSPECIFIED: _ClassVar[Explicit]
    EXPLICIT_YES: _ClassVar[Explicit]
    EXPLICIT_NO: _ClassVar[Explicit]

class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_UNSPECIFIED: _ClassVar[Decision]
    DECISION_PASS: _ClassVar[Decision]
    DECISION_REWRITE: _ClassVar[Decision]

class Layer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAYER_UNSPECIFIED: _ClassVar[Layer]
    LAYER_PERSONAL: _ClassVar[Layer]
    LAYER_GLOBAL: _ClassVar[Layer]

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_CONFIDENT: _ClassVar[Reason]
    REASON_NO_CANDIDATES: _ClassVar[Reason]
    REASON_LEAVE_IS_BETTER: _ClassVar[Reason]
    REASON_BELOW_THRESHOLD: _ClassVar[Reason]
    REASON_BELOW_MARGIN: _ClassVar[Reason]
    REASON_OUT_OF_TIME: _ClassVar[Reason]
    REASON_EMPTY_QUERY: _ClassVar[Reason]
    REASON_INTERNAL_ERROR: _ClassVar[Reason]
    REASON_QUERY_LOOKS_FINE: _ClassVar[Reason]
    REASON_TAUGHT: _ClassVar[Reason]
    REASON_HOLD_OUT: _ClassVar[Reason]
    REASON_RETIRED: _ClassVar[Reason]
    REASON_KNOWN_REWRITE: _ClassVar[Reason]
    REASON_BLOCKED: _ClassVar[Reason]
    REASON_PINNED: _ClassVar[Reason]

class PreferenceKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PREFERENCE_KIND_UNSPECIFIED: _ClassVar[PreferenceKind]
    PREFERENCE_KIND_ALIAS: _ClassVar[PreferenceKind]
    PREFERENCE_KIND_NAME: _ClassVar[PreferenceKind]
    PREFERENCE_KIND_LIKE: _ClassVar[PreferenceKind]
CHANNEL_UNSPECIFIED: Channel
CHANNEL_VOICE: Channel
CHANNEL_APP: Channel
CHANNEL_TEXT: Channel
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_OK: Outcome
OUTCOME_NO_MATCH: Outcome
OUTCOME_ERROR: Outcome
EXPLICIT_UNSPECIFIED: Explicit
EXPLICIT_YES: Explicit
EXPLICIT_NO: Explicit
DECISION_UNSPECIFIED: Decision
DECISION_PASS: Decision
DECISION_REWRITE: Decision
LAYER_UNSPECIFIED: Layer
LAYER_PERSONAL: Layer
LAYER_GLOBAL: Layer
REASON_UNSPECIFIED: Reason
REASON_CONFIDENT: Reason
REASON_NO_CANDIDATES: Reason
REASON_LEAVE_IS_BETTER: Reason
REASON_BELOW_THRESHOLD: Reason
REASON_BELOW_MARGIN: Reason
REASON_OUT_OF_TIME: Reason
REASON_EMPTY_QUERY: Reason
REASON_INTERNAL_ERROR: Reason
REASON_QUERY_LOOKS_FINE: Reason
REASON_TAUGHT: Reason
REASON_HOLD_OUT: Reason
REASON_RETIRED: Reason
REASON_KNOWN_REWRITE: Reason
REASON_BLOCKED: Reason
REASON_PINNED: Reason
PREFERENCE_KIND_UNSPECIFIED: PreferenceKind
PREFERENCE_KIND_ALIAS: PreferenceKind
PREFERENCE_KIND_NAME: PreferenceKind
PREFERENCE_KIND_LIKE: PreferenceKind

class Location(_message.Message):
    __slots__ = ("city", "state")
    CITY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    city: str
    state: str
    def __init__(self, city: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

class Context(_message.Message):
    __slots__ = ("device_id", "device_type", "has_screen", "room", "device_state", "locale", "location")
    class DeviceStateEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_TYPE_FIELD_NUMBER: _ClassVar[int]
    HAS_SCREEN_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    DEVICE_STATE_FIELD_NUMBER: _ClassVar[int]
    LOCALE_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    device_type: str
    has_screen: bool
    room: str
    device_state: _containers.ScalarMap[str, str]
    locale: str
    location: Location
    def __init__(self, device_id: _Optional[str] = ..., device_type: _Optional[str] = ..., has_screen: _Optional[bool] = ..., room: _Optional[str] = ..., device_state: _Optional[_Mapping[str, str]] = ..., locale: _Optional[str] = ..., location: _Optional[_Union[Location, _Mapping]] = ...) -> None: ...

class Interpretation(_message.Message):
    __slots__ = ("intent", "slots")
    class SlotsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INTENT_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    intent: str
    slots: _containers.ScalarMap[str, str]
    def __init__(self, intent: _Optional[str] = ..., slots: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Feedback(_message.Message):
    __slots__ = ("barge_in", "explicit", "dwell_s")
    BARGE_IN_FIELD_NUMBER: _ClassVar[int]
    EXPLICIT_FIELD_NUMBER: _ClassVar[int]
    DWELL_S_FIELD_NUMBER: _ClassVar[int]
    barge_in: bool
    explicit: Explicit
    dwell_s: float
    def __init__(self, barge_in: _Optional[bool] = ..., explicit: _Optional[_Union[Explicit, str]] = ..., dwell_s: _Optional[float] = ...) -> None: ...

class RewriteRequest(_message.Message):
    __slots__ = ("interaction_id", "user_id", "timestamp_ms", "channel", "query", "alternatives", "asr_confidence", "context")
    INTERACTION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    ASR_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    interaction_id: str
    user_id: str
    timestamp_ms: int
    channel: Channel
    query: str
    alternatives: _containers.RepeatedScalarFieldContainer[str]
    asr_confidence: float
    context: Context
    def __init__(self, interaction_id: _Optional[str] = ..., user_id: _Optional[str] = ..., timestamp_ms: _Optional[int] = ..., channel: _Optional[_Union[Channel, str]] = ..., query: _Optional[str] = ..., alternatives: _Optional[_Iterable[str]] = ..., asr_confidence: _Optional[float] = ..., context: _Optional[_Union[Context, _Mapping]] = ...) -> None: ...

class TeachSuggestion(_message.Message):
    __slots__ = ("kind", "subject")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    kind: PreferenceKind
    subject: str
    def __init__(self, kind: _Optional[_Union[PreferenceKind, str]] = ..., subject: _Optional[str] = ...) -> None: ...

class RewriteResponse(_message.Message):
    __slots__ = ("decision", "text", "probability", "margin", "layer", "reason", "bundle_version", "stage_us", "skipped_stages", "preference_id", "teach_suggestion")
    class StageUsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    DECISION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    STAGE_US_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_STAGES_FIELD_NUMBER: _ClassVar[int]
    PREFERENCE_ID_FIELD_NUMBER: _ClassVar[int]
    TEACH_SUGGESTION_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    text: str
    probability: float
    margin: float
    layer: Layer
    reason: Reason
    bundle_version: str
    stage_us: _containers.ScalarMap[str, int]
    skipped_stages: _containers.RepeatedScalarFieldContainer[str]
    preference_id: str
    teach_suggestion: TeachSuggestion
    def __init__(self, decision: _Optional[_Union[Decision, str]] = ..., text: _Optional[str] = ..., probability: _Optional[float] = ..., margin: _Optional[float] = ..., layer: _Optional[_Union[Layer, str]] = ..., reason: _Optional[_Union[Reason, str]] = ..., bundle_version: _Optional[str] = ..., stage_us: _Optional[_Mapping[str, int]] = ..., skipped_stages: _Optional[_Iterable[str]] = ..., preference_id: _Optional[str] = ..., teach_suggestion: _Optional[_Union[TeachSuggestion, _Mapping]] = ...) -> None: ...

class Interaction(_message.Message):
    __slots__ = ("interaction_id", "user_id", "timestamp_ms", "channel", "query", "alternatives", "asr_confidence", "context", "interpretation", "outcome", "feedback")
    INTERACTION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    ASR_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    INTERPRETATION_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    interaction_id: str
    user_id: str
    timestamp_ms: int
    channel: Channel
    query: str
    alternatives: _containers.RepeatedScalarFieldContainer[str]
    asr_confidence: float
    context: Context
    interpretation: Interpretation
    outcome: Outcome
    feedback: Feedback
    def __init__(self, interaction_id: _Optional[str] = ..., user_id: _Optional[str] = ..., timestamp_ms: _Optional[int] = ..., channel: _Optional[_Union[Channel, str]] = ..., query: _Optional[str] = ..., alternatives: _Optional[_Iterable[str]] = ..., asr_confidence: _Optional[float] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., interpretation: _Optional[_Union[Interpretation, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., feedback: _Optional[_Union[Feedback, _Mapping]] = ...) -> None: ...

class FeedbackEvent(_message.Message):
    __slots__ = ("user_id", "interaction_id", "feedback", "rewritten_query")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    INTERACTION_ID_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    REWRITTEN_QUERY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    interaction_id: str
    feedback: Feedback
    rewritten_query: str
    def __init__(self, user_id: _Optional[str] = ..., interaction_id: _Optional[str] = ..., feedback: _Optional[_Union[Feedback, _Mapping]] = ..., rewritten_query: _Optional[str] = ...) -> None: ...

class RecordRequest(_message.Message):
    __slots__ = ("interactions", "feedback")
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    interactions: _containers.RepeatedCompositeFieldContainer[Interaction]
    feedback: _containers.RepeatedCompositeFieldContainer[FeedbackEvent]
    def __init__(self, interactions: _Optional[_Iterable[_Union[Interaction, _Mapping]]] = ..., feedback: _Optional[_Iterable[_Union[FeedbackEvent, _Mapping]]] = ...) -> None: ...

class RecordResponse(_message.Message):
    __slots__ = ("new_interactions",)
    NEW_INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    new_interactions: int
    def __init__(self, new_interactions: _Optional[int] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("request", "earlier", "with_caches")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    EARLIER_FIELD_NUMBER: _ClassVar[int]
    WITH_CACHES_FIELD_NUMBER: _ClassVar[int]
    request: RewriteRequest
    earlier: _containers.RepeatedCompositeFieldContainer[Interaction]
    with_caches: bool
    def __init__(self, request: _Optional[_Union[RewriteRequest, _Mapping]] = ..., earlier: _Optional[_Iterable[_Union[Interaction, _Mapping]]] = ..., with_caches: _Optional[bool] = ...) -> None: ...

class FeatureContribution(_message.Message):
    __slots__ = ("name", "value", "contribution")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    contribution: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., contribution: _Optional[float] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("text", "layer", "sources", "probability", "features", "harm", "retired")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    HARM_FIELD_NUMBER: _ClassVar[int]
    RETIRED_FIELD_NUMBER: _ClassVar[int]
    text: str
    layer: Layer
    sources: _containers.RepeatedScalarFieldContainer[str]
    probability: float
    features: _containers.RepeatedCompositeFieldContainer[FeatureContribution]
    harm: float
    retired: bool
    def __init__(self, text: _Optional[str] = ..., layer: _Optional[_Union[Layer, str]] = ..., sources: _Optional[_Iterable[str]] = ..., probability: _Optional[float] = ..., features: _Optional[_Iterable[_Union[FeatureContribution, _Mapping]]] = ..., harm: _Optional[float] = ..., retired: _Optional[bool] = ...) -> None: ...

class CacheLook(_message.Message):
    __slots__ = ("cache", "hit")
    CACHE_FIELD_NUMBER: _ClassVar[int]
    HIT_FIELD_NUMBER: _ClassVar[int]
    cache: str
    hit: bool
    def __init__(self, cache: _Optional[str] = ..., hit: _Optional[bool] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("response", "candidates", "left_out", "caches")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    CACHES_FIELD_NUMBER: _ClassVar[int]
    response: RewriteResponse
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    left_out: _containers.RepeatedCompositeFieldContainer[Candidate]
    caches: _containers.RepeatedCompositeFieldContainer[CacheLook]
    def __init__(self, response: _Optional[_Union[RewriteResponse, _Mapping]] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., left_out: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., caches: _Optional[_Iterable[_Union[CacheLook, _Mapping]]] = ...) -> None: ...

class Preference(_message.Message):
    __slots__ = ("id", "kind", "subject", "value", "text", "taught_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TAUGHT_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: PreferenceKind
    subject: str
    value: str
    text: str
    taught_ms: int
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[_Union[PreferenceKind, str]] = ..., subject: _Optional[str] = ..., value: _Optional[str] = ..., text: _Optional[str] = ..., taught_ms: _Optional[int] = ...) -> None: ...

class TeachRequest(_message.Message):
    __slots__ = ("user_id", "text", "preference", "timestamp_ms")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PREFERENCE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    text: str
    preference: Preference
    timestamp_ms: int
    def __init__(self, user_id: _Optional[str] = ..., text: _Optional[str] = ..., preference: _Optional[_Union[Preference, _Mapping]] = ..., timestamp_ms: _Optional[int] = ...) -> None: ...

class TeachResponse(_message.Message):
    __slots__ = ("preference", "example_query", "example_rewrite")
    PREFERENCE_FIELD_NUMBER: _ClassVar[int]
    EXAMPLE_QUERY_FIELD_NUMBER: _ClassVar[int]
    EXAMPLE_REWRITE_FIELD_NUMBER: _ClassVar[int]
    preference: Preference
    example_query: str
    example_rewrite: str
    def __init__(self, preference: _Optional[_Union[Preference, _Mapping]] = ..., example_query: _Optional[str] = ..., example_rewrite: _Optional[str] = ...) -> None: ...

class ListPreferencesRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class ListPreferencesResponse(_message.Message):
    __slots__ = ("preferences",)
    PREFERENCES_FIELD_NUMBER: _ClassVar[int]
    preferences: _containers.RepeatedCompositeFieldContainer[Preference]
    def __init__(self, preferences: _Optional[_Iterable[_Union[Preference, _Mapping]]] = ...) -> None: ...

class RemovePreferenceRequest(_message.Message):
    __slots__ = ("user_id", "preference_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PREFERENCE_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    preference_id: str
    def __init__(self, user_id: _Optional[str] = ..., preference_id: _Optional[str] = ...) -> None: ...

class RemovePreferenceResponse(_message.Message):
    __slots__ = ("removed",)
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    removed: bool
    def __init__(self, removed: _Optional[bool] = ...) -> None: ...

class DescribeUserRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class OwnText(_message.Message):
    __slots__ = ("text", "attempts", "successes", "last_success_ms")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    SUCCESSES_FIELD_NUMBER: _ClassVar[int]
    LAST_SUCCESS_MS_FIELD_NUMBER: _ClassVar[int]
    text: str
    attempts: float
    successes: float
    last_success_ms: int
    def __init__(self, text: _Optional[str] = ..., attempts: _Optional[float] = ..., successes: _Optional[float] = ..., last_success_ms: _Optional[int] = ...) -> None: ...

class ServedRewrite(_message.Message):
    __slots__ = ("heard", "rewrite", "turns", "harm", "retired")
    HEARD_FIELD_NUMBER: _ClassVar[int]
    REWRITE_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    HARM_FIELD_NUMBER: _ClassVar[int]
    RETIRED_FIELD_NUMBER: _ClassVar[int]
    heard: str
    rewrite: str
    turns: int
    harm: float
    retired: bool
    def __init__(self, heard: _Optional[str] = ..., rewrite: _Optional[str] = ..., turns: _Optional[int] = ..., harm: _Optional[float] = ..., retired: _Optional[bool] = ...) -> None: ...

class DescribeUserResponse(_message.Message):
    __slots__ = ("turns", "bundle_turns", "texts_in_all", "texts", "preferences", "rewrites", "first_ms", "last_ms")
    TURNS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_TURNS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_IN_ALL_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    PREFERENCES_FIELD_NUMBER: _ClassVar[int]
    REWRITES_FIELD_NUMBER: _ClassVar[int]
    FIRST_MS_FIELD_NUMBER: _ClassVar[int]
    LAST_MS_FIELD_NUMBER: _ClassVar[int]
    turns: int
    bundle_turns: int
    texts_in_all: int
    texts: _containers.RepeatedCompositeFieldContainer[OwnText]
    preferences: _containers.RepeatedCompositeFieldContainer[Preference]
    rewrites: _containers.RepeatedCompositeFieldContainer[ServedRewrite]
    first_ms: int
    last_ms: int
    def __init__(self, turns: _Optional[int] = ..., bundle_turns: _Optional[int] = ..., texts_in_all: _Optional[int] = ..., texts: _Optional[_Iterable[_Union[OwnText, _Mapping]]] = ..., preferences: _Optional[_Iterable[_Union[Preference, _Mapping]]] = ..., rewrites: _Optional[_Iterable[_Union[ServedRewrite, _Mapping]]] = ..., first_ms: _Optional[int] = ..., last_ms: _Optional[int] = ...) -> None: ...

class ForgetUserRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class ForgetUserResponse(_message.Message):
    __slots__ = ("turns", "preferences", "in_bundle", "bundle_version")
    TURNS_FIELD_NUMBER: _ClassVar[int]
    PREFERENCES_FIELD_NUMBER: _ClassVar[int]
    IN_BUNDLE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    turns: int
    preferences: int
    in_bundle: bool
    bundle_version: str
    def __init__(self, turns: _Optional[int] = ..., preferences: _Optional[int] = ..., in_bundle: _Optional[bool] = ..., bundle_version: _Optional[str] = ...) -> None: ...

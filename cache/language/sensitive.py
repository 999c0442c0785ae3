"""Tell whether a prompt asks about now or about its author, so that no stored answer serves it.

Promises: pure; every pattern of every language is tried, whatever language the prompt seems to be
in, so that a wrong guess at the language loses no refusal.
Not covered: languages without patterns, which `cache.language.mismatch` never serves.
"""

from __future__ import annotations

import re

_FLAGS = re.IGNORECASE | re.VERBOSE

_NOW_EN = r"""\b(
    today | tonight | tomorrow | yesterday | nowadays | currently | presently | latest | newest
  | most\ recent(ly)? | recently | up[- ]to[- ]date | right\ now | just\ now | as\ of\ now
  | until\ now | at\ (the|this)\ (moment|time|present)(?!\ (of|when|that|in)) | these\ days
  | at\ present | so\ far\ (today|this)
  | this\ (very\ )?(minute|hour|morning|afternoon|evening|week|weekend|month|season|quarter|year
      |semester|term|spring|summer|autumn|fall|winter)
  | (last|next|past|coming)\ (night|week|weekend|month|hour|few\ days)
  | (last|next)\ (year|monday|tuesday|wednesday|thursday|friday|saturday|sunday)
  | (is|are|was|it|open|time|happening|on)\ now | now\ (in|at|near)
  | what('s|\ is)\ the\ (time|date|weather|temperature)(\ (like|outside|here))?(?=\W*$)
  | what\ time\ is\ it | what\ (day|date|month|year)\ is\ it
  | how('s|\ is)\ the\ weather
  | (is|will)\ it\ (be\ )?(raining|snowing|sunny|cloudy|rain|snow)(?=\W*$)
  | current\ (price|value|time|temperature|weather|exchange|rate|interest|inflation|score
      |population|president|prime|ceo|chancellor|king|queen|leader|world|champion|status|version
      |state|date|news|events?|stable|traffic|market|stock|standings?)\w*
  | (how\ (many|much|long)\ )?(days|weeks|hours|minutes|months|time|long)\ (left\ )?(until|till)
  | breaking\ news | news\ (about|on|from|in|today) | (the|any)\ news(?=\W*$)
  | headlines | live\ (score|stream|result)s?
  | (weather|forecast)\ (in|for|like|at|near|going|outside)
  | (stock|share|bitcoin|oil|gold)\ price
  | price\ of\ (bitcoin|btc|ethereum|oil|gold|silver) | who\ is\ (winning|leading|playing)
  | (is|are)\b.{0,60}\b(open|closed|down|delayed|on\ strike)\ (now|yet|still)
)\b"""
_NOW_DE = r"""\b(
    heute | heutzutage | heutige\w* | morgen(?=\W+\w) | morgige\w* | übermorgen | gestern
  | vorgestern | gestrige\w* | jetzt | jetzige\w* | momentan | derzeit | derzeitige\w* | zurzeit
  | zur\ zeit | aktuell\w* | gerade\ (eben|jetzt)? | soeben | vorhin | neuerdings | kürzlich
  | im\ (moment|augenblick) | gegenwärtig\w* | bisher | bald | neueste[nrsm]? | neuste[nrsm]?
  | (diese|letzte|vorige|vergangene|nächste|kommende)[nrsm]?\ (minute|stunde|tage?|woche|monat
      |jahr|wochenende|nacht|abend|morgen|vormittag|nachmittag|saison|quartal|frühling|sommer
      |herbst|winter|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag)s?
  | wie\ spät | wie\ ?viel\ uhr | uhrzeit | welcher\ (wochen)?tag | welches\ datum
  | wetter(bericht|vorhersage)? | nachrichten | schlagzeilen
  | (börsen|aktien|wechsel|bitcoin|dollar|euro|gold)-?(kurs|preis) | kurs\ (von|der|des)
  | noch\ (offen|geöffnet|auf) | wie\ lange\ noch | wie\ viele?\ \w+\ (noch\ )?bis
)\b"""
_NOW_FR = r"""\b(
    aujourd['’]?\ ?hui | demain | après-demain | hier | avant-hier | maintenant
  | actuel(le|s|les|lement)? | actuellement | en\ ce\ moment | à\ l['’]heure\ actuelle
  | à\ présent | ces\ (jours|temps)(-ci)? | ces\ derniers\ \w+ | récent\w* | récemment | bientôt
  | de\ nos\ jours | tout\ (de\ suite|à\ l['’]heure)
  | ce\ (matin|soir|mois|week-?end|jour|midi|printemps) | cet\ (après-midi|été|automne|hiver)
  | cette\ (semaine|nuit|année|saison|minute|heure|journée)
  | (semaine|mois|année|an|nuit|week-?end|été|hiver|lundi|mardi|mercredi|jeudi|vendredi|samedi
      |dimanche)\ (derni\w+|prochaine?|passée?) | prochaine?s? | derni(er|ère)s?
  | quelle\ heure | quel\ jour | quelle\ (est\ la\ )?date | quel\ temps | météo | actualités?
  | nouvelles\ (du|de|sur) | cours\ (de|du|d['’])\ ?\w+ | score | encore\ ouverte?s?
  | combien\ de\ (jours|temps|semaines|mois|heures)\ (reste|avant|jusqu)
)\b"""
_NOW_ES = r"""\b(
    hoy | mañana | pasado\ mañana | ayer | anteayer | anoche | ahora(\ mismo)?
  | actual(es|mente|idad)? | en\ (este|estos)\ momentos? | por\ el\ momento | reciente\w* | pronto
  | est[ea]s?\ (semana|mes|año|noche|tarde|mañana|fin\ de\ semana|temporada|minuto|hora|momento
      |primavera|verano|otoño|invierno|días)
  | próxim[oa]s? | que\ viene | pasad[oa](?=\W*$)
  | (semana|mes|año|noche|lunes|martes|miércoles
      |jueves|viernes|sábado|domingo)\ pasad[oa]
  | últim[oa]s? | noticias | titulares
  | qué\ hora | qué\ día | qué\ fecha | qué\ tiempo | tiempo\ hace | el\ clima | pronóstico
  | cotización | precio\ (actual|del?\ (bitcoin|oro|petróleo|dólar|euro)) | marcador
  | todavía | aún | cuánto\ falta | cuántos\ días\ (faltan|quedan)
)\b"""
_NOW_ZH = (
    r"[今明昨后後前][天日晚早夜]|今[年早晨]|明年|去年|现在|現在|目前|[当當]前|如今|[当當]下|此刻|眼下|眼前|这会儿"
    r"|最近|最新|近期|近[来來]|近日|[刚剛]才|[刚剛][刚剛]|马上|馬上|[实實][时時]|[时時]事|[现現]任"
    r"|[本这這上下][个個]?(?:周|週|月|星期|礼拜|禮拜|季度|年度)|[本这這]个?周末|天[气氣]|[气氣]温|[几幾][点點]"
    r"|几号|幾號|星期几|星期幾|新闻|新聞|股[价價]|[汇匯]率|油[价價]|金[价價]|[还還]有(?:几|多少|多久)|[还還][开開][门門着]"
)
_NOW_JA = (
    r"今日|きょう|今[夜晩朝]|明日|あした|明後日|昨[日夜晩]|きのう|一昨日|今(?![回後度])(?=[はのすもま、,。何]|$)"
    r"|いま(?=[はのすも、何])|現在|現時点|最近|最新|[今来先][週月]|[今来昨去]年|天気|気温|何時(?!間)|何曜日|何日ですか"
    r"|ニュース|株価|為替|さっき|さきほど|先ほど|直近|本日|ただいま|この頃|このところ|近頃|現職|まだ(?:開|営業|やって)"
)
_NOW_LATIN = re.compile("|".join((_NOW_EN, _NOW_DE, _NOW_FR, _NOW_ES)), _FLAGS)
_NOW_HAN = re.compile(f"{_NOW_ZH}|{_NOW_JA}")

_SELF_EN = r"""\b(
    (what|who|where|how\ old|when)('s|\ is|\ are|\ was|\ am)\ (my\ (full\ |first\ |last\ |middle\ )?
      (name|birthday|age|address|email|phone|number|password|location|username|salary
      |blood\ type|wife|husband|boss|job|favou?rite|mother|father|mom|dad|sister|brother|son
      |daughter|dog|cat|partner|girlfriend|boyfriend|hometown|nationality|height|weight|gender
      |ip|appointment|order|package|parcel)|i)\b
  | (do|did|can|will)\ you\ (still\ )?(remember|recall|know)\ (me|my|what\ i|who\ i|i|where\ i
      |how\ old\ i)
  | remember\ (that|my) | my\ name\ is | (what|when)\ did\ i\ (just\ )?(say|ask|tell|mention)
  | where\ do\ i\ (live|work) | (i|we)\ (said|told\ you|asked\ you)\ (before|earlier|yesterday|last)
  | my\ (social\ security|ssn|passport\ number|iban|credit\ card\ number)
)\b | [\w.+-]+@[\w-]+\.\w{2,} | \b\d{3}-\d{2}-\d{4}\b | \b(?:\d[ -]?){13,19}\b"""
_SELF_DE = r"""\b(
    wer\ bin\ ich | wie\ (heiße|heisse|alt\ bin|groß\ bin|schwer\ bin)\ ich
  | wo\ (bin|wohne|lebe)\ ich
  | wie\ ich\ (heiße|heisse) | mein\ name\ ist | ich\ (heiße|heisse)\ \w+
  | (erinnerst|kennst)\ du\ (dich\ )?(an\ )?mich | weißt\ du\W+(noch\W+)?(wer|wie|was|wo|wann)\ ich
  | (was|wann)\ habe\ ich\ (dir\ |dich\ |gerade\ )?(gesagt|gefragt|erzählt)
  | (ich|wir)\ (habe|haben|hatte)\ (dir|ihnen)\ (gesagt|erzählt)
)\b"""
_SELF_FR = r"""\b(
    qui\ suis-je | comment\ (je\ m['’]|m['’])appell?\w* | je\ m['’]appelle | où\ (suis-je|habité-je
      |j['’]habite|est-ce\ que\ j['’]habite) | quel\ âge\ (ai-je|j['’]ai)
  | (te\ souviens-tu|tu\ te\ souviens|vous\ souvenez|te\ rappelles|tu\ me\ connais|me\ connais-tu)
  | (ai-je|j['’]ai)\ (dit|demandé|raconté) | je\ t['’]ai\ (dit|demandé|parlé)
)\b"""
_SELF_ES = r"""\b(
    quién\ soy | cómo\ me\ llamo | me\ llamo | dónde\ (estoy|vivo|trabajo)
  | (cuántos\ años|qué\ edad)\ tengo | te\ acuerdas | (me\ )?recuerdas | me\ conoces
  | (qué|cuándo|lo\ que)\ (te\ )?(dije|pregunté|he\ dicho|he\ preguntado) | te\ dije
)\b"""
_SELF_ZH = (
    r"我是[谁誰]|我叫|我[几幾多][岁歲大高重]|我在哪|我住|我家"
    r"|[记記]得我|[认認][识識]我|我[说說][过過]|我[刚剛]|我[问問][过過了]"
)
_SELF_JA = (
    r"[私僕俺]は(?:誰|だれ|何歳|どこ)|[私僕俺]の名前|わたしの名前|(?:覚え|憶え|おぼえ)て(?:い?ます|る)|[私僕俺]を知って"
    r"|[私僕俺](?:が|は)(?:さっき|前に|何を)(?:言|聞|話)"
)
_SELF_LATIN = re.compile("|".join((_SELF_EN, _SELF_DE, _SELF_FR, _SELF_ES)), _FLAGS)
_SELF_HAN = re.compile(f"{_SELF_ZH}|{_SELF_JA}")

# What is the author's, per language, and the questions about it that anybody may ask alike: how to
# do something with it. English has only the list above: "my card" is in half of a bank's questions.
_OWN = {
    "de": re.compile(r"\b(mein|unser)(e|en|em|er|es)?\b", re.IGNORECASE),
    "fr": re.compile(r"\b(mon|ma|mes|notre|nos)\b|\b(le|la|les) (mien|nôtre)", re.IGNORECASE),
    "es": re.compile(r"\b(mis?|mí[oa]s?|nuestr[oa]s?)\b", re.IGNORECASE),
    "zh": re.compile(r"[我俺咱][们們]?的|我[们們]?(?:公司|老[公婆板]|[爸妈媽哥弟姐妹])"),
    "ja": re.compile(r"(?:私|僕|俺|わたし|ぼく|おれ|自分|うち|我々|弊社)(?:たち|達)?の"),
}
_HOW_TO = {
    "de": re.compile(
        r"^\W*(?:bitte )?wie (?:kann|könnte|soll|sollte|muss|darf|\w+e) (?:ich|man|wir)\b"
        r"|^\W*anleitung|\bwie (?:man|ich) .*\b(?:kann|könnte|soll)\b",
        re.IGNORECASE,
    ),
    "fr": re.compile(
        r"^\W*comment (?:puis-je|peut-on|pourrais-je|pouvons-nous|dois-je|faire|je peux|on peut"
        r"|est-ce que (?:je|on) (?:peux|peut|dois)|\w+(?:er|ir|re)\b)",
        re.IGNORECASE,
    ),
    "es": re.compile(
        r"^\W*(?:cómo|como) (?:puedo|podría|se puede|podemos|debo|hago|\w+(?:ar|er|ir)(?:me)?\b)",
        re.IGNORECASE,
    ),
    "zh": re.compile(r"如何|怎[样樣](?!了)|怎[么麼](?![了样樣回])|方法|步[骤驟]|教程"),
    "ja": re.compile(r"どうすれば|どうやって|どのように|方法|手順|やり方|仕方|するには"),
}


def about_now(text: str) -> bool:
    """Whether the right answer changes with the day or the hour."""
    if _NOW_LATIN.search(text):
        return True
    return not text.isascii() and _NOW_HAN.search(text) is not None


def about_author(text: str, language: str) -> bool:
    """Whether the right answer depends on who asks; `language` as `language.detect` names it."""
    if _SELF_LATIN.search(text):
        return True
    if not text.isascii() and _SELF_HAN.search(text):
        return True
    own = _OWN.get(language)
    return own is not None and own.search(text) is not None and not _HOW_TO[language].search(text)

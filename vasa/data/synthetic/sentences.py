"""Small word lists in several languages, and random sentences of them for espeak: sound, not sense."""

from __future__ import annotations

import numpy as np

WORDS: dict[str, str] = {
    "en-us": (
        "the people never thought about another window before morning because every bird jumped over my "
        "favourite garden please open both doors quickly we measure vision with joy and five brave "
        "foxes move slowly through cold water yes she should watch the huge boat happy mother father "
        "summer picture voice power children beautiful weather maybe"
    ),
    "en-gb-x-rp": (
        "perhaps the older gardener rather likes walking past the village church on Thursday afternoons "
        "with our brown dog nothing really matters unless somebody brings fresh bread butter cheese and "
        "a pot of tea before the bath is warm which bus goes to the theatre where would you put those "
        "books a lovely view half measure pure fire"
    ),
    "de": (
        "heute morgen gehen wir über die Brücke und kaufen frische Äpfel Brot Milch und Butter warum "
        "schreibst du nicht öfter meine Freundin wohnt in einem schönen Haus mit grünen Fenstern das "
        "Mädchen spielt mit Wasser Pferde fliegen nicht vielleicht möchte jemand Kuchen essen früh "
        "abends Zeitung Himmel Apfelbaum zwölf Bücher Pfeffer jung Stimme"
    ),
    "fr": (
        "bonjour mon ami nous mangeons du pain avec beaucoup de beurre chaque matin le petit oiseau "
        "chante une chanson bleue pourquoi voulez-vous partir demain la lune brille sur un grand jardin "
        "vert deux jeunes femmes jouent ensemble sous la pluie il faut finir ce livre peut-être feuille "
        "montagne cheveux voiture homme heureux bouche jamais vieux"
    ),
    "es": (
        "buenos días señor quiero comprar manzanas verdes y una botella de agua mi hermana vive cerca "
        "del puente viejo cuando llueve los niños juegan dentro de la casa grande siempre bebemos café "
        "por la mañana hoy vamos a bailar mucho fuego jardín pequeño amigo ventana zapato lluvia "
        "muchacho abuela guitarra jueves"
    ),
    "it": (
        "buongiorno a tutti oggi andiamo al mercato per comprare pomodori freschi e un po' di formaggio "
        "la mia famiglia abita vicino al fiume gli amici bevono vino rosso sempre volentieri quando "
        "piove leggiamo un bel libro ciao bambino giardino montagna specchio uova bocca azzurro "
        "zucchero acqua foglia"
    ),
    "pt": (
        "bom dia hoje vamos comprar pão fresco e queijo na feira minha irmã mora perto do rio as "
        "crianças brincam no jardim quando chove eu leio um livro velho muito obrigado amanhã coração "
        "janela manhã homem mulher gelo chuva peixe vermelho abraço bonito folha"
    ),
    "nl": (
        "goedemorgen wij gaan vandaag met de fiets naar het oude huis mijn broer koopt brood kaas en "
        "verse melk waarom schijnt de zon niet boven het water zij lezen samen een mooi boek vogel "
        "buiten deur vrouw lucht zeven bloemen groot schip jongen meisje ui uur"
    ),
    "pl": (
        "dzień dobry dzisiaj idziemy do sklepu po chleb mleko i jabłka moja siostra mieszka blisko "
        "rzeki dlaczego nie czytasz tej książki wieczorem pada deszcz mały ptak śpiewa pięknie w "
        "ogrodzie woda okno żółty samochód przyjaciel babcia wujek kwiat"
    ),
    "sv": (
        "god morgon idag går vi till havet med min lilla syster hon köper bröd smör och färsk mjölk "
        "varför sjunger fågeln så vackert under himlen vi läser en gammal bok tillsammans fönster "
        "vatten sjö barn hjärta kväll blomma pojke skön"
    ),
    "ru": (
        "доброе утро сегодня мы идём в большой магазин купить хлеб молоко и яблоки моя сестра живёт "
        "около реки почему ты не пишешь письмо вечером шумит дождь маленькая птица поёт песню вода окно "
        "жёлтый друг бабушка цветок мама папа человек облако"
    ),
    "tr": (
        "günaydın bugün çarşıya gidip ekmek süt ve elma alacağız kız kardeşim nehrin yanında oturuyor "
        "neden bana mektup yazmıyorsun akşam yağmur yağıyor küçük kuş bahçede güzel öter su pencere "
        "mavi arkadaş büyük anne çocuk ışık bulut"
    ),
    "hi": (
        "नमस्ते आज हम बाज़ार से ताज़ा फल और दूध लेने जाएँगे मेरी बहन नदी के पास रहती है तुम किताब क्यों "
        "नहीं पढ़ते शाम को बारिश होती है छोटी चिड़िया बगीचे में गाना गाती पानी खिड़की दोस्त माँ पिता "
        "बच्चा फूल आम बहुत अच्छा"
    ),
    "cmn": (
        "今天 天气 很 好 我们 一起 去 公园 散步 妈妈 买 苹果 面包 和 牛奶 你 为什么 不 说话 小鸟 在 "
        "树上 唱歌 晚上 下雨 朋友 喜欢 读书 爸爸 明天 坐 飞机 北京 上海 窗户 红色 水 花 月亮 雨伞 吃饭 "
        "非常 高兴 谢谢"
    ),
    "ja": (
        "きょう は てんき が いい です ね わたしたち こうえん へ さんぽ に いきます おかあさん りんご "
        "と パン を かいました どうして はなさない の ことり うた よる あめ ふります ともだち ほん "
        "よみます あした ひこうき まど みず はな ぼうし ふゆ ぴかぴか"
    ),
    "ko": (
        "오늘 날씨가 좋아서 우리는 공원에 갑니다 어머니는 사과와 빵을 샀어요 왜 말을 안 해요 작은 새가 "
        "나무에서 노래해요 저녁에 비가 옵니다 친구 책 내일 비행기 창문 물 꽃 바다 아버지 아이 모자 포도 "
        "마음"
    ),
}
"""espeak voice name to words separated by spaces, chosen so that together they hold the language's sounds."""
LANGUAGES = tuple(WORDS)
UNSPACED = frozenset({"cmn", "ja"})


def sentence(language: str, rng: np.random.Generator) -> str:
    """Three to eleven random words, perhaps a comma, ending as a statement, question or exclamation."""
    words = WORDS[language].split()
    chosen = [words[i] for i in rng.integers(len(words), size=int(rng.integers(3, 12)))]
    if len(chosen) > 5 and rng.random() < 0.5:
        cut = int(rng.integers(2, len(chosen) - 2))
        chosen[cut] += "、" if language in UNSPACED else ","
    end = str(rng.choice([".", "?", "!"], p=[0.65, 0.2, 0.15]))
    return ("" if language in UNSPACED else " ").join(chosen) + end

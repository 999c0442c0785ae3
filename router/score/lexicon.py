"""Words that show which kind of work a prompt asks for, in English and Chinese.

Promises: data only; every English word stands in one kind at most.
Not covered: other languages; they are judged by their embedding and by their shape.
"""

from __future__ import annotations

_ENGLISH: dict[str, str] = {
    "proof": """
        prove proof disprove derive derivation theorem lemma corollary induction contradiction
        epsilon delta rigorous rigorously axiom converge converges convergence continuity
        bijection injective surjective countable uncountable isomorphic isomorphism homomorphism
    """,
    "math": """
        integral derivative matrix matrices polynomial prime modulo congruent probability
        triangle circle radius rectangle angle equation vector eigenvalue eigenvector logarithm
        sequence series limit integer divisor divisible factorial permutation combination
        expected variance solve simplify evaluate compute calculate sum product root roots
        quadratic cubic graph vertices edges subset subgroup ring field coefficient real complex
        perpendicular
    """,
    "code": """
        python java javascript typescript rust golang sql bash html css c++ function functions
        algorithm algorithms class code program script array string tuple dictionary recursive
        recursion complexity api endpoint debug bug regex compile compiler thread threads mutex
        deadlock concurrency concurrent async iterator generator decorator parser cache lru
        queue heap hashmap trie subarray substring unittest runtime segfault traceback exception
        pointer kubernetes docker database schema query index transaction distributed
    """,
    "science": """
        velocity acceleration mass force energy momentum voltage current resistance circuit
        capacitor wavelength frequency magnetic electron proton atom molecule molar mole
        enthalpy entropy equilibrium reaction acid solution gas pressure temperature heat enzyme
        protein cell gene dna rna species neuron diagnosis patient symptoms treatment disease
    """,
    "society": """
        court plaintiff defendant contract statute liability tort constitutional negligence
        jurisdiction market demand supply elasticity inflation monetary fiscal interest
        investment portfolio marketing ethics moral utilitarian kant empire treaty
    """,
    "chat": """
        hello hi hey thanks thank bye goodbye morning evening welcome congratulations joke
        cheers ok okay please sorry nice fun weather birthday greeting
    """,
    "light": """
        translate translation summarize summarise summary rephrase say spell define definition
        capital color colour repeat reverse synonym antonym opposite plural rhyme uppercase
        lowercase capitalize correct grammar typo rewrite shorten title headline
    """,
    "build": """
        write implement design build create develop optimize optimise refactor construct
        architect deploy migrate extend integrate
    """,
    "reason": """
        explain compare contrast analyze analyse justify critique argue discuss tradeoff
        tradeoffs implications assess why reasoning strategy plan infer conclude step steps
        consequences interpret determine
    """,
    "quantity": """
        total each per every remaining left twice thrice half altogether average many much cost
        costs price paid earns spends buys sells dollars cents hours minutes days weeks miles km
        mph percent times more fewer less
    """,
    "order": """
        then after before finally first next until later second third last while when if given
        suppose assume let
    """,
    "constraint": """
        must exactly least most without only within should cannot ensure handle constraint
        constraints requirement requirements guarantee satisfy satisfies
    """,
    "negation": """
        not except incorrect false never neither nor none no isn't doesn't don't
    """,
    "ask_fact": """
        what who whom whose where which name
    """,
}
_CHINESE: dict[str, tuple[str, ...]] = {
    "proof": ("证明", "推导", "定理", "引理", "归纳", "反证", "收敛"),
    "math": (
        "方程",
        "函数",
        "矩阵",
        "概率",
        "三角形",
        "质数",
        "素数",
        "整数",
        "积分",
        "导数",
        "求解",
    ),
    "code": ("代码", "算法", "编程", "实现", "复杂度", "程序", "数据库", "线程", "缓存", "接口"),
    "science": ("速度", "能量", "电压", "反应", "细胞", "基因", "分子", "疾病"),
    "society": ("法院", "合同", "市场", "通货膨胀", "伦理", "条约"),
    "chat": ("你好", "您好", "谢谢", "再见", "早上好", "晚安", "笑话", "祝"),
    "light": ("翻译", "总结", "概括", "首都", "颜色", "同义词", "反义词", "改写", "拼写"),
    "build": ("编写", "设计", "写一个", "构建", "优化", "重构", "开发"),
    "reason": ("解释", "比较", "分析", "为什么", "论述", "评价", "讨论", "说明"),
    "quantity": ("一共", "每", "剩", "多少", "总共", "平均", "几个", "元", "小时", "千米"),
    "order": ("然后", "首先", "最后", "之后", "如果", "假设", "设"),
    "constraint": ("必须", "至少", "至多", "恰好", "只能", "要求", "保证"),
    "negation": ("不是", "没有", "错误", "除了", "不正确"),
    "ask_fact": ("什么", "谁", "哪", "是吗"),
}

KINDS: tuple[str, ...] = tuple(_ENGLISH)


def _english_words() -> dict[str, int]:
    words: dict[str, int] = {}
    for index, kind in enumerate(KINDS):
        for word in _ENGLISH[kind].split():
            words.setdefault(word, index)
    return words


# English word -> index of its kind; Chinese term -> index of its kind.
ENGLISH_KIND: dict[str, int] = _english_words()
CHINESE_KIND: dict[str, int] = {
    term: index for index, kind in enumerate(KINDS) for term in _CHINESE[kind]
}

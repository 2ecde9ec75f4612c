"""Arms x seeds (x folds) -> one judgement: did the generated images help?"""
